/* The short way of a hook: a tensor that comes as the one before is read where it lies, and counted, without Python.

   All that is looked at, and all that is changed, are the objects of Python that the long way (icshift/hooks/watcher.py) looks
   at and changes. So the two may take turns at any call, and where anything is not as it was, or an error occurs before
   anything was changed, the answer is that nothing was taken: then the long way does it all. */
#include <math.h>

#include "kernel.h"
#include "objects.h"
#include "waiting.h"

#define LONG_WORK (1 << 18) /* as in module.c */

/* What a taker is about; what it has to know of the last tensor begins with FITS. */
enum {
    NAME,       /* of the module */
    CALLS,      /* whose `now` is the forward of this thread */
    SIGNS,      /* that its hooks are on: attributes, and what they are */
    ONLY,       /* who alone hears which thread: empty where everybody does */
    ACQUIRE,    /* of the lock that one thread at a time holds, */
    RELEASE,
    WATCH, /* the stopwatch, */
    CLOCK, /* and what it goes by */
    ADDRESS, /* returns where a tensor lies */
    OF_ALL,
    FITS = OF_ALL, /* whether a tensor is as the last */
    QUIET,         /* functions and what each returns where a thread runs a model as is usual */
    FORWARD,       /* the kind of forward that it was in */
    OPEN,          /* accumulators, */
    KEY,           /* by what this one is known */
    ACCUMULATOR,   /* the one that took it, */
    WAITING,       /* and what waits in it */
    FAILED,        /* sites that are left alone */
    QUEUE,         /* what is on its way from a device, for which it would have to wait */
    OBSERVER,      /* whose step begins with it, unless it is None, */
    TICKING,       /* accumulators that have something in the step */
    SAMPLER,       /* what draws places, None where all are taken, */
    TOTAL,         /* of so many */
    REFERENCES
};

typedef struct {
    PyObject_HEAD
    PyObject *of[REFERENCES];
    activations_t like; /* how its activations lie in memory; their address is that of each tensor */
    int64_t n;          /* rows that are taken */
    int busy, outdated; /* taking; told meanwhile, by another thread, to forget */
} taker_t;

/* Whether the forward that goes on is of the kind of the last, and the module's first call in it. */
static int is_first_call(taker_t *t, PyObject *now, PyObject **made)
{
    if (!is(now, names[NAME_padding], Py_None) || !is(now, names[NAME_forward], t->of[FORWARD]))
        return 0;
    PyObject *open = PyObject_GetAttr(now, names[NAME_open]);
    Py_ssize_t depth = open ? PyObject_Size(open) : 0;
    Py_XDECREF(open);
    if (depth < 1)
        return 0;
    *made = PyObject_GetAttr(now, names[NAME_made]);
    return *made && PyDict_Contains(*made, t->of[NAME]) == 0;
}

/* Whether who took the last one takes this one too. */
static int is_taken(taker_t *t)
{
    return PyDict_GetItemWithError(t->of[OPEN], t->of[KEY]) == t->of[ACCUMULATOR] &&
           PyDict_Contains(t->of[FAILED], t->of[NAME]) == 0 && PyObject_Size(t->of[QUEUE]) == 0;
}

/* The places that are drawn of so many, this step's. They are the sampler's as long as it has them. */
static PyObject *drawn(taker_t *t)
{
    PyObject *all = PyObject_GetAttr(t->of[SAMPLER], names[NAME__drawn]);
    PyObject *places = all ? PyDict_GetItemWithError(all, t->of[TOTAL]) : NULL;
    Py_XINCREF(places);
    Py_XDECREF(all);
    if (places || PyErr_Occurred())
        return places;
    PyObject *draw = PyObject_GetAttr(t->of[SAMPLER], names[NAME_places]);
    places = draw ? PyObject_CallFunctionObjArgs(draw, t->of[TOTAL], NULL) : NULL;
    Py_XDECREF(draw);
    return places;
}

static void scan_all(activations_t a, double *table, float *centre, sample_t sample)
{
    int known = centre && !isnan(centre[0]);
    if (a.rows * a.units * a.positions < LONG_WORK) {
        scan(a, table, centre, known, sample);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    scan(a, table, centre, known, sample);
    Py_END_ALLOW_THREADS
}

/* Reads activations into the memory that waits, if there is room. */
static int read_into(taker_t *t, waiting_t *w)
{
    activations_t a = t->like;
    sample_t sample = {NULL, t->n, NULL};
    int64_t units = a.units, table = w->closed + w->opened;
    if (!fits(w, ROWS, w->filled + t->n, units * (int64_t)sizeof(float)) || !fits(w, SPANS, w->opened + 1, 3 * sizeof(int64_t)))
        return 0;
    sample.rows = (float *)w->held[ROWS].buf + w->filled * units;
    if (t->of[SAMPLER] == Py_None) {
        scan_all(a, NULL, NULL, sample);
        return 1;
    }
    if (!fits(w, TABLES, table + 1, 6 * units * (int64_t)sizeof(double)) || !fits(w, CENTRE, units, sizeof(float)))
        return 0;
    PyObject *places = drawn(t);
    Py_buffer view;
    if (!places || PyObject_GetBuffer(places, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(places);
        return 0;
    }
    int enough = view.len >= t->n * (int64_t)sizeof(int64_t);
    if (enough) {
        sample.drawn = view.buf;
        scan_all(a, (double *)w->held[TABLES].buf + table * 6 * units, w->held[CENTRE].buf, sample);
    }
    PyBuffer_Release(&view);
    Py_DECREF(places);
    return enough;
}

/* Notes that it was taken: the call, the step, the forward. */
static int note(taker_t *t, PyObject *made, waiting_t *w)
{
    PyObject *one = PyLong_FromLong(1);
    int done = one && PyDict_SetItem(made, t->of[NAME], one) == 0 &&
               PyDict_SetItem(t->of[TICKING], t->of[ACCUMULATOR], Py_None) == 0 &&
               (t->of[OBSERVER] == Py_None || set(t->of[OBSERVER], NAME__begun, Py_True));
    Py_XDECREF(one);
    if (!done)
        return 0;
    int64_t *span = (int64_t *)w->held[SPANS].buf + 3 * w->opened;
    span[0] = w->filled;
    span[1] = w->filled + t->n;
    span[2] = t->of[SAMPLER] != Py_None;
    w->opened++;
    w->filled += t->n;
    return 1;
}

static int take_in(taker_t *t, PyObject *output)
{
    PyObject *address = NULL, *made = NULL;
    int taken = 0;
    PyObject *now = PyObject_GetAttr(t->of[CALLS], names[NAME_now]);
    if (now && is_first_call(t, now, &made) && returns(t->of[FITS], output, Py_True) && is_quiet(t->of[QUIET]) && is_taken(t))
        address = PyObject_CallFunctionObjArgs(t->of[ADDRESS], output, NULL);
    t->like.values = address ? PyLong_AsVoidPtr(address) : NULL;
    if (t->like.values) {
        waiting_t *w = (waiting_t *)t->of[WAITING];
        taken = read_into(t, w) && note(t, made, w);
    }
    Py_XDECREF(address);
    Py_XDECREF(made);
    Py_XDECREF(now);
    return taken;
}

static void forget(taker_t *t) { let_go_of(t->of, OF_ALL, REFERENCES); }

static int take(taker_t *t, PyObject *output)
{
    timed_t timed = {t->of[ACQUIRE], t->of[RELEASE], t->of[WATCH], t->of[CLOCK], NULL};
    if (t->busy || !t->of[FITS] || !are(t->of[SIGNS]) || PyDict_Size(t->of[ONLY]) || !begin(&timed))
        return 0;
    t->busy = 1;
    int taken = take_in(t, output);
    t->busy = 0;
    finish(&timed, taken);
    if (t->outdated)
        forget(t);
    t->outdated = 0;
    return taken;
}

static PyObject *py_take(PyObject *self, PyObject *const *seen, Py_ssize_t given)
{
    return answer(given == 2 && take((taker_t *)self, seen[1]));
}

static PyObject *py_forget(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    taker_t *t = (taker_t *)self;
    if (t->busy)
        t->outdated = 1;
    else
        forget(t);
    Py_RETURN_NONE;
}

/* Notes what to know of the last tensor: the references, then rows, units, positions and stride of its activations, and how
   many of their places are taken. */
static PyObject *py_know(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    taker_t *t = (taker_t *)self;
    int references = REFERENCES - OF_ALL;
    if (!takes("know", given, references + 5))
        return NULL;
    PyObject *const *sizes = o + references;
    activations_t like = {NULL, integer(sizes[0]), integer(sizes[1]), integer(sizes[2]), integer(sizes[3])};
    int64_t n = integer(sizes[4]);
    if (PyErr_Occurred())
        return NULL;
    if (!PyObject_TypeCheck(o[WAITING - OF_ALL], waiting_type) || !PyTuple_Check(o[QUIET - OF_ALL]) || n < 1 || n > like.rows * like.positions || like.units < 1 || !PyDict_Check(o[OPEN - OF_ALL]) ||
        !PyDict_Check(o[FAILED - OF_ALL]) || !PyDict_Check(o[TICKING - OF_ALL])) {
        PyErr_SetString(PyExc_ValueError, "a taker has to know other things");
        return NULL;
    }
    if (t->busy)
        Py_RETURN_NONE;
    hold_all(t->of + OF_ALL, o, REFERENCES - OF_ALL);
    t->like = like;
    t->n = n;
    Py_RETURN_NONE;
}

static PyObject *make(PyTypeObject *type, PyObject *given, PyObject *named)
{
    (void)named;
    if (!takes("Taker", PyTuple_Size(given), OF_ALL))
        return NULL;
    if (!PyDict_Check(PyTuple_GetItem(given, ONLY)) || !PyTuple_Check(PyTuple_GetItem(given, SIGNS))) {
        PyErr_SetString(PyExc_TypeError, "a taker is given other things");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    taker_t *t = (taker_t *)allocate(type, 0);
    for (int k = 0; t && k < OF_ALL; k++)
        t->of[k] = Py_NewRef(PyTuple_GetItem(given, k));
    return (PyObject *)t;
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    return visit_all(self, ((taker_t *)self)->of, REFERENCES, visit, arg);
}

static int clear(PyObject *self)
{
    let_go_of(((taker_t *)self)->of, 0, REFERENCES);
    return 0;
}

static void end(PyObject *self) { end_of(self, ((taker_t *)self)->of, REFERENCES); }

static PyMethodDef methods[] = {
    {"take", (PyCFunction)(void (*)(void))py_take, METH_FASTCALL, "What a module was given and what it returned; returns whether "
                                                                  "that was taken."},
    {"know", (PyCFunction)(void (*)(void))py_know, METH_FASTCALL, "What is to be known of a tensor to take the next."},
    {"forget", py_forget, METH_NOARGS, "Nothing is known any more."},
    {0}};

static PyType_Slot slots[] = {{Py_tp_new, make},     {Py_tp_dealloc, end}, {Py_tp_traverse, traverse},
                              {Py_tp_clear, clear}, {Py_tp_methods, methods}, {0}};

PyType_Spec taker_spec = {"icshift._kernel.Taker", sizeof(taker_t), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
