/* The functions of `icshift._kernel` that compare blocks of steps; see module.c. */
#include "arguments.h"
#include "kernel.h"

/* Where blocks begin that are joined to so many. */
static const int64_t *starts(held_t *held, PyObject *given, int64_t blocks, int64_t count)
{
    const int64_t *found = known(held, given, (blocks + 1) * (int64_t)sizeof(int64_t));
    for (int64_t k = 0; !PyErr_Occurred() && k < blocks; k++)
        if (found[k] < 0 || found[k] >= found[k + 1] || found[k + 1] > count)
            PyErr_SetString(PyExc_ValueError, "blocks are joined that are not there");
    return found;
}

/* Of the arguments slices, sampled, zeros, count, each, starts. */
static window_t window(held_t *held, PyObject *const *o, int64_t units, int64_t blocks)
{
    window_t w = {.count = integer(o[3]), .each = integer(o[4])};
    if (!PyErr_Occurred() && (w.count < 1 || w.count > MOST_BLOCKS || (w.each && w.each != w.count)))
        PyErr_Format(PyExc_ValueError, "a window of %lld blocks, where 1 to %d are compared", (long long)w.count, MOST_BLOCKS);
    int64_t counts = (w.each ? units * w.count : w.count) * (int64_t)sizeof(int64_t);
    w.slices = known(held, o[0], units * w.count * SLICES * (int64_t)sizeof(float));
    w.sampled = known(held, o[1], counts);
    w.zeros = known(held, o[2], counts);
    w.starts = starts(held, o[5], blocks, w.count);
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
    if (!takes("differ", given, 21))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[12]), blocks = integer(o[13]), cells = units * blocks;
    if (refuse_blocks(blocks))
        return NULL;
    window_t a = window(&held, o, units, blocks), b = window(&held, o + 6, units, blocks);
    difference_t out = {
        .slices = wanted(&held, o[14], cells * SLICES * (int64_t)sizeof(double)),
        .means = wanted(&held, o[15], cells * (int64_t)sizeof(double)),
        .zeros = wanted(&held, o[16], cells * (int64_t)sizeof(double)),
        .weights = wanted(&held, o[17], blocks * (int64_t)sizeof(double)),
        .seen = wanted(&held, o[18], units * (int64_t)sizeof(int64_t)),
        .coarse = wanted(&held, o[19], units),
    };
    const rounding_t *rounding = known(&held, o[20], sizeof(rounding_t));
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        differ(a, b, units, (int)blocks, rounding, out);
        Py_END_ALLOW_THREADS
    }
    return done(&held);
}

PyObject *py_compare(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("compare", given, 30))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[12]), blocks = integer(o[13]), count = integer(o[15]), pool = integer(o[20]);
    int64_t fine = integer(o[25]);
    if (refuse_blocks(blocks))
        return NULL;
    if (count < 1 || pool < 0 || pool >= count || fine < 0 || fine > MOST_BLOCKS)
        return PyErr_Format(PyExc_ValueError, "%lld of %lld patterns, %lld blocks", (long long)pool, (long long)count,
                            (long long)fine);
    window_t a = window(&held, o, units, blocks), b = window(&held, o + 6, units, blocks);
    exchange_t how = {known(&held, o[14], count * blocks * (int64_t)sizeof(double)), count, (int)blocks};
    exchanged_t out = {
        .total = wanted(&held, o[16], count * (int64_t)sizeof(double)),
        .largest = wanted(&held, o[17], count * (int64_t)sizeof(double)),
        .shown = wanted(&held, o[18], units * (int64_t)sizeof(float)),
        .pooled = wanted(&held, o[19], pool * units * (int64_t)sizeof(float)),
        .kept = wanted(&held, o[21], units),
        .pool = pool,
    };
    compared_t found = {
        .seen = wanted(&held, o[22], units * (int64_t)sizeof(int64_t)),
        .coarse = wanted(&held, o[23], units),
        .fewest = integer(o[24]),
        .blocks = (int)fine,
        .starts_a = starts(&held, o[26], fine, a.count),
        .starts_b = starts(&held, o[27], fine, b.count),
        .products = wanted(&held, o[28], fine * fine * (int64_t)sizeof(double)),
    };
    const rounding_t *rounding = known(&held, o[29], sizeof(rounding_t));
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = compare(a, b, units, rounding, how, out, found);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
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
