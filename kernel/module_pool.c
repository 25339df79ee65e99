/* The functions of `icshift._kernel` that put together what several processes recorded; see module.c. */
#include "arguments.h"
#include "kernel.h"

PyObject *py_cut_even(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("cut_even", given, 6))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[1]), n = integer(o[2]), slices = integer(o[3]);
    if (!PyErr_Occurred() && (units < 0 || slices < 1 || n < slices || n % slices))
        PyErr_Format(PyExc_ValueError, "%lld points in %lld equal slices", (long long)n, (long long)slices);
    const float *points = known(&held, o[0], units * n * (int64_t)sizeof(float));
    float *means = wanted(&held, o[4], units * slices * (int64_t)sizeof(float));
    double *error = wanted(&held, o[5], units * (int64_t)sizeof(double));
    if (!PyErr_Occurred())
        cut_even(points, units, n, slices, means, error);
    return done(&held);
}

PyObject *py_add_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("add_blocks", given, 6))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[2]), count = integer(o[3]), each = integer(o[4]);
    if (!PyErr_Occurred() && (units < 0 || count < 1 || (each && each != count)))
        PyErr_Format(PyExc_ValueError, "%lld blocks, of which %lld of each unit", (long long)count, (long long)each);
    const float *slices = known(&held, o[0], units * count * SLICES * (int64_t)sizeof(float));
    const int64_t *sampled = known(&held, o[1], (each ? units * count : count) * (int64_t)sizeof(int64_t));
    double *sums = wanted(&held, o[5], units * count * SLICES * (int64_t)sizeof(double));
    if (!PyErr_Occurred())
        add_blocks(slices, sampled, units, count, each != 0, sums);
    return done(&held);
}

PyObject *py_merge_ends(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("merge_ends", given, 3))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[1]), bytes = units * 2 * TAIL * (int64_t)sizeof(float);
    const float *other = known(&held, o[0], bytes);
    float *ends = wanted(&held, o[2], bytes);
    if (!PyErr_Occurred())
        merge_ends(other, units, ends);
    return done(&held);
}
