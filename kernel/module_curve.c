/* The functions of `icshift._kernel` for the values that are kept of a window; see module.c. */
#include "arguments.h"
#include "kernel.h"

PyObject *py_curve(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("curve", given, 9))
        return NULL;
    held_t held = {.count = 0};
    int64_t size = integer(o[1]), units = integer(o[2]), k = integer(o[3]), knots = KNOTS(k);
    if (!PyErr_Occurred() && (k < 2 || units < 0 || (size != 4 && size != 8)))
        PyErr_Format(PyExc_ValueError, "%lld slices of %lld bytes", (long long)k, (long long)size);
    const void *values = known(&held, o[0], units * k * size);
    curves_t out = {
        .sampled = known(&held, o[4], units * (int64_t)sizeof(int64_t)),
        .tails = known(&held, o[5], units * 2 * TAIL * (int64_t)sizeof(double)),
        .zeros = known(&held, o[6], units * (int64_t)sizeof(double)),
        .share = wanted(&held, o[7], units * knots * (int64_t)sizeof(double)),
        .value = wanted(&held, o[8], units * knots * (int64_t)sizeof(double)),
    };
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = size == 4 ? curves_float(values, units, k, out) : curves_double(values, units, k, out);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}

/* Places, values and number of knots of functions of so many units, of which there are three arguments. */
static lines_t lines(held_t *held, PyObject *const *o, int64_t units)
{
    lines_t found = {NULL, NULL, integer(o[2])};
    if (!PyErr_Occurred() && (found.knots < 1 || units < 0))
        PyErr_Format(PyExc_ValueError, "%lld functions of %lld knots", (long long)units, (long long)found.knots);
    found.places = known(held, o[0], units * found.knots * (int64_t)sizeof(double));
    found.values = known(held, o[1], units * found.knots * (int64_t)sizeof(double));
    return found;
}

PyObject *py_squares(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("squares", given, 8))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[6]);
    lines_t a = lines(&held, o, units), b = lines(&held, o + 3, units);
    double *found = wanted(&held, o[7], units * (int64_t)sizeof(double));
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = squares(a, b, units, found);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}

PyObject *py_parts(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("parts", given, 9))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[6]);
    lines_t a = lines(&held, o, units), b = lines(&held, o + 3, units);
    if (!PyErr_Occurred() && (a.knots % 2 || b.knots % 2))
        PyErr_Format(PyExc_ValueError, "%lld and %lld knots are no pairs", (long long)a.knots, (long long)b.knots);
    const int64_t *power = known(&held, o[7], units * (int64_t)sizeof(int64_t));
    double *found = wanted(&held, o[8], 3 * units * (int64_t)sizeof(double));
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = parts(a, b, units, power, found);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}

PyObject *py_apart(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("apart", given, 7))
        return NULL;
    held_t held = {.count = 0};
    int64_t n = integer(o[1]), m = integer(o[3]), units = integer(o[4]), size = integer(o[5]);
    if (!PyErr_Occurred() && (n < 1 || m < 1 || n > INT32_MAX || m > INT32_MAX || units < 0 || (size != 4 && size != 8)))
        PyErr_Format(PyExc_ValueError, "%lld and %lld values of %lld bytes", (long long)n, (long long)m, (long long)size);
    const void *a = known(&held, o[0], n * units * size), *b = known(&held, o[2], m * units * size);
    double *found = wanted(&held, o[6], units * (int64_t)sizeof(double));
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = size == 4 ? apart_float(a, n, b, m, units, found) : apart_double(a, n, b, m, units, found);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}
