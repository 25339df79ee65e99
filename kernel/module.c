/* The module `icshift._kernel`, for the stable ABI of Python 3.11. Arrays come as buffers, whose lengths are checked
   here; a tensor, which is no buffer, comes as an address, which icshift/sketch/kernel_native.py checks. */
#include "arguments.h"
#include "kernel.h"
#include "objects.h"

#define LONG_WORK (1 << 18) /* values from which another thread may run meanwhile; below, taking turns costs more */

static PyObject *py_scan(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("scan", given, 12))
        return NULL;
    held_t held = {.count = 0};
    activations_t a = {PyLong_AsVoidPtr(o[0]), integer(o[1]), integer(o[2]), integer(o[3]), integer(o[4])};
    double *table = wanted(&held, o[5], 6 * a.units * (int64_t)sizeof(double));
    float *centre = wanted(&held, o[6], a.units * (int64_t)sizeof(float));
    int guessed = (int)integer(o[7]);
    sample_t sample = {NULL, integer(o[9]), NULL};
    sample.drawn = known(&held, o[8], sample.n * (int64_t)sizeof(int64_t));
    int64_t first = integer(o[11]);
    float *sampled = wanted(&held, o[10], (first + sample.n) * a.units * (int64_t)sizeof(float));
    if (!PyErr_Occurred()) {
        sample.rows = sampled + first * a.units;
        if (a.rows * a.units * a.positions < LONG_WORK) {
            scan(a, table, centre, guessed, sample);
        } else {
            Py_BEGIN_ALLOW_THREADS
            scan(a, table, centre, guessed, sample);
            Py_END_ALLOW_THREADS
        }
    }
    return done(&held);
}

static PyObject *py_order(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("order", given, 17))
        return NULL;
    held_t held = {.count = 0};
    int64_t steps = integer(o[1]), n = integer(o[2]), units = integer(o[3]), cells = steps * units;
    int64_t first = integer(o[10]), space = integer(o[11]), size = space * units, taken = integer(o[15]), length = integer(o[16]);
    if (!PyErr_Occurred() && (n < 1 || n > MOST))
        PyErr_Format(PyExc_ValueError, "%lld values a step, where 1 to %d are sorted", (long long)n, MOST);
    if (!PyErr_Occurred() && (first < 0 || steps < 0 || first + steps > space))
        PyErr_Format(PyExc_ValueError, "steps %lld to %lld, where there is room for %lld", (long long)first,
                     (long long)(first + steps), (long long)space);
    if (!PyErr_Occurred() && (taken < 0 || length < 1))
        PyErr_Format(PyExc_ValueError, "blocks of %lld steps after %lld", (long long)length, (long long)taken);
    float *rows = wanted(&held, o[0], n * cells * (int64_t)sizeof(float));
    int64_t blocks = length > 0 && steps > 0 ? (taken + steps - 1) / length + 1 : 1, row = units * (int64_t)sizeof(float);
    float *values = wanted(&held, o[4], steps > 0 ? (steps - 1) * n * row : 0); /* of the last step a part may have no room */
    order_t out = {
        .values = values,
        .room = values && row ? held.views[held.count - 1].len / row : 0,
        .table = wanted(&held, o[5], 6 * size * (int64_t)sizeof(double)),
        .zeros = wanted(&held, o[6], size * (int64_t)sizeof(int64_t)),
        .quantiles = wanted(&held, o[7], QUANTILES * size * (int64_t)sizeof(float)),
        .slices = wanted(&held, o[8], SLICES * size * (int64_t)sizeof(double)),
        .probabilities = known(&held, o[9], QUANTILES * (int64_t)sizeof(double)),
        .sums = wanted(&held, o[12], blocks * SLICES * units * (int64_t)sizeof(double)),
        .sampled = wanted(&held, o[13], blocks * units * (int64_t)sizeof(int64_t)),
        .none = wanted(&held, o[14], blocks * units * (int64_t)sizeof(int64_t)),
        .taken = taken,
        .length = length,
    };
    if (!PyErr_Occurred()) {
        out.table += first * 6 * units;
        out.zeros += first * units;
        out.quantiles += first * QUANTILES * units;
        out.slices = out.slices ? out.slices + first * SLICES * units : NULL;
        if (n * cells < LONG_WORK) {
            order(rows, steps, (int)n, units, out);
        } else {
            Py_BEGIN_ALLOW_THREADS
            order(rows, steps, (int)n, units, out);
            Py_END_ALLOW_THREADS
        }
    }
    return done(&held);
}

static PyObject *py_total(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("total", given, 6))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[4]);
    moments_t of = {NULL, integer(o[1]), integer(o[2]), integer(o[3])};
    if (!PyErr_Occurred() && (of.column < 0 || of.group < 0 || of.groups < 1 || units < 1))
        PyErr_Format(PyExc_ValueError, "%lld groups of %lld units", (long long)of.groups, (long long)units);
    of.table = known(&held, o[0], (5 * of.column + (of.groups - 1) * of.group + units) * (int64_t)sizeof(double));
    double *found = wanted(&held, o[5], 6 * units * (int64_t)sizeof(double));
    if (!PyErr_Occurred())
        total(of, units, found);
    return done(&held);
}

static PyObject *py_compact(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("compact", given, 5))
        return NULL;
    held_t held = {.count = 0};
    int64_t units = integer(o[1]);
    double rounding = PyFloat_AsDouble(o[2]);
    float *level = wanted(&held, o[0], LEVEL * units * (int64_t)sizeof(float));
    double *moved = wanted(&held, o[3], units * (int64_t)sizeof(double));
    float *up = wanted(&held, o[4], GOING_UP * units * (int64_t)sizeof(float));
    if (!PyErr_Occurred()) {
        if (LEVEL * units < LONG_WORK) {
            compact(level, units, rounding, moved, up);
        } else {
            Py_BEGIN_ALLOW_THREADS
            compact(level, units, rounding, moved, up);
            Py_END_ALLOW_THREADS
        }
    }
    return done(&held);
}

static PyObject *py_digest(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("digest", given, 8))
        return NULL;
    held_t held = {.count = 0};
    level_t levels[MOST_LEVELS];
    Py_ssize_t count = PyTuple_Size(o[0]);
    if (count > MOST_LEVELS)
        PyErr_Format(PyExc_ValueError, "%zd levels, where at most %d are digested", count, MOST_LEVELS);
    if (PyErr_Occurred())
        return NULL;
    const int32_t *fills = known(&held, o[1], count * (int64_t)sizeof(int32_t));
    const int32_t *weights = known(&held, o[2], count * (int64_t)sizeof(int32_t));
    int64_t units = integer(o[3]), points = 0, singles = 0;
    for (Py_ssize_t k = 0; k < count && !PyErr_Occurred(); k++) {
        levels[k].values = known(&held, PyTuple_GetItem(o[0], k), fills[k] * units * (int64_t)sizeof(float));
        levels[k].fill = fills[k];
        levels[k].weight = weights[k];
        points += fills[k];
        singles += weights[k] == weights[0] ? fills[k] : 0;
    }
    digest_t out = {.slices = (int)integer(o[4])};
    int64_t width = out.slices ? out.slices : points;
    out.values = wanted(&held, o[5], width * units * (int64_t)sizeof(float));
    out.error = wanted(&held, o[6], units * (int64_t)sizeof(double));
    out.tails = wanted(&held, o[7], 2 * TAIL * units * (int64_t)sizeof(float));
    if (!PyErr_Occurred() && out.slices && singles < TAIL)
        PyErr_Format(PyExc_ValueError, "%lld single values, where %d are the least", (long long)singles, TAIL);
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = digest(levels, (int)count, units, out);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}

static PyObject *py_w1(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("w1", given, 9))
        return NULL;
    held_t held = {.count = 0};
    int64_t n = integer(o[1]), m = integer(o[3]), units = integer(o[4]), size = integer(o[5]);
    int64_t from = integer(o[7]), to = integer(o[8]);
    if (!PyErr_Occurred() && (n < 1 || m < 1 || n > INT32_MAX || m > INT32_MAX || (size != 4 && size != 8) || from < 0 || to > units))
        PyErr_Format(PyExc_ValueError, "%lld and %lld values of %lld bytes", (long long)n, (long long)m, (long long)size);
    const void *a = known(&held, o[0], n * units * size), *b = known(&held, o[2], m * units * size);
    double *found = wanted(&held, o[6], 7 * units * (int64_t)sizeof(double));
    if (!PyErr_Occurred()) {
        int there;
        Py_BEGIN_ALLOW_THREADS
        there = size == 4 ? w1_float(a, n, b, m, units, found, from, to) : w1_double(a, n, b, m, units, found, from, to);
        Py_END_ALLOW_THREADS
        if (!there)
            PyErr_NoMemory();
    }
    return done(&held);
}

static PyObject *py_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("blocks", given, 10))
        return NULL;
    held_t held = {.count = 0};
    int64_t n = integer(o[1]), units = integer(o[2]), step = integer(o[3]), count = integer(o[7]);
    int64_t from = integer(o[8]), to = integer(o[9]);
    if (!PyErr_Occurred() && (n < 1 || step < 1 || step > MOST || count < 1 || from < 0 || to > units))
        PyErr_Format(PyExc_ValueError, "%lld rows in stretches of %lld", (long long)n, (long long)step);
    const float *rows = known(&held, o[0], n * units * (int64_t)sizeof(float));
    blocks_t blocks = {
        .slices = wanted(&held, o[4], count * SLICES * units * (int64_t)sizeof(double)),
        .finite = wanted(&held, o[5], count * units * (int64_t)sizeof(int64_t)),
        .zeros = wanted(&held, o[6], count * units * (int64_t)sizeof(int64_t)),
        .count = count,
        .from = from,
        .to = to,
    };
    if (!PyErr_Occurred()) {
        Py_BEGIN_ALLOW_THREADS
        blocks_of(rows, n, units, (int)step, blocks);
        Py_END_ALLOW_THREADS
    }
    return done(&held);
}

static PyObject *py_hash_rows(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("hash_rows", given, 7))
        return NULL;
    held_t held = {.count = 0};
    const void *values = PyLong_AsVoidPtr(o[0]);
    int64_t rows = integer(o[1]), row = integer(o[2]), size = integer(o[3]), sum = 0;
    places_t at = {NULL, NULL, integer(o[6])};
    at.drawn = known(&held, o[4], at.n * (int64_t)sizeof(int64_t));
    at.factors = known(&held, o[5], at.n * (int64_t)sizeof(int64_t));
    if (!PyErr_Occurred() && size != 1 && size != 2 && size != 4 && size != 8)
        PyErr_Format(PyExc_ValueError, "values of %lld bytes, where 1, 2, 4 or 8 are read", (long long)size);
    for (int64_t k = 0; !PyErr_Occurred() && k < at.n; k++)
        if (at.drawn[k] < 0 || at.drawn[k] >= row)
            PyErr_Format(PyExc_ValueError, "place %lld of a row of %lld", (long long)at.drawn[k], (long long)row);
    if (!PyErr_Occurred())
        sum = hash_rows(values, rows, row, (int)size, at);
    release(&held);
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(sum);
}

static PyObject *py_join_planes(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)self;
    if (!takes("join_planes", given, 5))
        return NULL;
    held_t held = {.count = 0};
    int64_t rows = integer(o[1]), n = integer(o[2]), size = integer(o[3]);
    if (!PyErr_Occurred() && (rows < 0 || n < 0 || (size != 4 && size != 8)))
        PyErr_Format(PyExc_ValueError, "rows of %lld values of %lld bytes", (long long)n, (long long)size);
    const uint8_t *planes = known(&held, o[0], rows * n * size);
    uint8_t *values = wanted(&held, o[4], rows * n * size);
    if (!PyErr_Occurred())
        join_planes(planes, rows, n, (int)size, values);
    return done(&held);
}

/* Of what noise is computed from: module_noise.c. */
PyObject *py_differ(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_compare(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_exchange_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_multiply_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_distances(PyObject *self, PyObject *const *o, Py_ssize_t given);

/* Of the values that are kept of a window: module_curve.c. */
PyObject *py_curve(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_squares(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_parts(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_apart(PyObject *self, PyObject *const *o, Py_ssize_t given);

/* Of several processes: module_pool.c. */
PyObject *py_cut_even(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_add_blocks(PyObject *self, PyObject *const *o, Py_ssize_t given);
PyObject *py_merge_ends(PyObject *self, PyObject *const *o, Py_ssize_t given);

#define METHOD(name, text) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, text}

static PyMethodDef methods[] = {
    METHOD(scan, "address, rows, units, positions, stride, table, centre, known, drawn, n, sampled, first"),
    METHOD(order, "rows, steps, n, units, values, table, zeros, quantiles, slices, probabilities, first, room, sums, "
                  "sampled, none, taken, length"),
    METHOD(total, "table, column, group, groups, units, found"),
    METHOD(compact, "level, units, rounding, moved, up"),
    METHOD(hash_rows, "address, rows, row, size, drawn, factors, n"),
    METHOD(digest, "levels, fills, weights, units, slices, values, error, tails"),
    METHOD(w1, "a, n, b, m, units, bytes of a value, found, from, to"),
    METHOD(blocks, "rows, n, units, step, slices, finite, zeros, blocks, from, to"),
    METHOD(join_planes, "planes, rows, n, bytes of a value, values"),
    METHOD(curve, "values, bytes of a value, units, slices, sampled, tails, zeros, share, value"),
    METHOD(squares, "places, values, knots, those of the other, units, found"),
    METHOD(parts, "places, values, knots, those of the other, units, power, found"),
    METHOD(apart, "a, n, b, m, units, bytes of a value, found"),
    METHOD(differ, "slices, sampled, zeros, count, each, starts of a and of b, units, blocks, slices, means, zeros, weights, "
                   "seen, coarse"),
    METHOD(compare, "slices, sampled, zeros, count, each, starts of a and of b, units, blocks, weights, patterns, total, "
                    "largest, shown, pooled, pool, kept, seen, coarse, fewest, blocks, starts of a, of b, products"),
    METHOD(exchange_blocks, "apart, units, blocks, slices, weights, patterns, total, largest, shown, pooled, pool, kept"),
    METHOD(multiply_blocks, "apart, blocks, places, products"),
    METHOD(distances, "apart, units, blocks, weights, draws, found"),
    METHOD(cut_even, "points, units, n, slices, means, error"),
    METHOD(add_blocks, "slices, sampled, units, count, each, sums"),
    METHOD(merge_ends, "other ends, units, ends"),
    {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernel", "See the folder `kernel`.", -1, methods};

#define IN_TEXT(name) #name,
static const char *const spelt[] = {NAMES(IN_TEXT)};
PyObject *names[ALL_NAMES];
PyTypeObject *waiting_type;

static PyObject *add_type(PyObject *module, const char *name, PyType_Spec *spec)
{
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObjectRef(module, name, type) < 0)
        Py_CLEAR(type);
    Py_XDECREF(type); /* the module has it */
    return type;
}

PyMODINIT_FUNC PyInit__kernel(void)
{
    PyObject *module = PyModule_Create(&definition);
    int right = module != NULL;
    for (int k = 0; right && k < ALL_NAMES; k++)
        right = (names[k] = PyUnicode_InternFromString(spelt[k])) != NULL;
    PyObject *waiting = right ? add_type(module, "Waiting", &waiting_spec) : NULL;
    waiting_type = (PyTypeObject *)Py_XNewRef(waiting); /* takers compare with it, also after a script deleted the name */
    right = waiting && add_type(module, "Taker", &taker_spec) && add_type(module, "Passage", &passage_spec);
    if (!right)
        Py_CLEAR(module);
    return module;
}
