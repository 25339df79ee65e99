/* The functions of `icshift._kernel` that compare blocks of steps; see module.c. */
#include "arguments.h"
#include "kernel.h"

static window_t window(held_t *held, PyObject *const *o, int64_t units, int64_t blocks)
{
    window_t w = {.count = integer(o[3])};
    w.slices = known(held, o[0], units * w.count * SLICES * (int64_t)sizeof(float));
    w.sampled = known(held, o[1], units * w.count * (int64_t)sizeof(int64_t));
    w.zeros = known(held, o[2], units * w.count * (int64_t)sizeof(int64_t));
    w.starts = known(held, o[4], (blocks + 1) * (int64_t)sizeof(int64_t));
    for (int64_t k = 0; !PyErr_Occurred() && k < blocks; k++)
        if (w.starts[k] < 0 || w.starts[k] >= w.starts[k + 1] || w.starts[k + 1] > w.count)
            PyErr_SetString(PyExc_ValueError, "blocks are joined that are not there");
    return w;
}

static int refuse_blocks(int64_t blocks)
{
    if (!PyErr_Occurred() && (blocks < 1 || blocks > MOST_BLOCKS))
        PyErr_Format(PyExc_ValueError, "%lld blocks, where 1 to %d are compared", (long long)blocks, MOST_BLOCKS);
    return PyErr_Occurred() != NULL;
}

PyObject *py_differ(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("differ", given, 17))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[10]), blocks = integer(o[11]), cells = units * blocks;
    if (refuse_blocks(blocks))
        return NULL;
    window_t a = window(&held, o, units, blocks), b = window(&held, o + 5, units, blocks);
    difference_t out = {
        .slices = wanted(&held, o[12], cells * SLICES * (int64_t)sizeof(double)),
        .means = wanted(&held, o[13], cells * (int64_t)sizeof(double)),
        .zeros = wanted(&held, o[14], cells * (int64_t)sizeof(double)),
        .weights = wanted(&held, o[15], blocks * (int64_t)sizeof(double)),
        .seen = wanted(&held, o[16], units * (int64_t)sizeof(int64_t)),
    };
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        differ(a, b, units, (int)blocks, out);
        Py_END_ALLOW_THREADS
    }
    return done(&held);
}

PyObject *py_exchange_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("exchange_blocks", given, 12))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[1]), blocks = integer(o[2]), slices = integer(o[3]), count = integer(o[5]);
    int64_t pool = integer(o[10]);
    if (refuse_blocks(blocks))
        return NULL;
    if (count < 1 || pool < 0 || pool >= count || slices < 1 || slices > SLICES)
        return PyErr_Format(PyExc_ValueError, "%lld of %lld patterns", (long long)pool, (long long)count);
    const double *apart = known(&held, o[0], blocks * units * slices * (int64_t)sizeof(double));
    exchange_t how = {known(&held, o[4], count * blocks * (int64_t)sizeof(double)), count, (int)blocks};
    exchanged_t out = {
        .total = wanted(&held, o[6], count * (int64_t)sizeof(double)),
        .largest = wanted(&held, o[7], count * (int64_t)sizeof(double)),
        .shown = wanted(&held, o[8], units * (int64_t)sizeof(float)),
        .pooled = wanted(&held, o[9], pool * units * (int64_t)sizeof(float)),
        .kept = wanted(&held, o[11], units),
        .pool = pool,
    };
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = exchange_blocks(apart, units, (int)slices, how, out);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}

PyObject *py_multiply_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("multiply_blocks", given, 4))
        return NULL;
    held_t held = {.count = 0};
    int64_t blocks = integer(o[1]), places = integer(o[2]);
    if (refuse_blocks(blocks))
        return NULL;
    const double *apart = known(&held, o[0], blocks * places * (int64_t)sizeof(double));
    double *products = wanted(&held, o[3], blocks * blocks * (int64_t)sizeof(double));
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        multiply_blocks(apart, (int)blocks, places, products);
        Py_END_ALLOW_THREADS
    }
    return done(&held);
}

PyObject *py_distances(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("distances", given, 6))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[1]), blocks = integer(o[2]), count = integer(o[4]);
    if (refuse_blocks(blocks))
        return NULL;
    const double *apart = known(&held, o[0], blocks * units * SLICES * (int64_t)sizeof(double));
    exchange_t how = {known(&held, o[3], count * blocks * (int64_t)sizeof(double)), count, (int)blocks};
    double *found = wanted(&held, o[5], count * units * (int64_t)sizeof(double));
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        distances(apart, units, how, found);
        Py_END_ALLOW_THREADS
    }
    return done(&held);
}
