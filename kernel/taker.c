/* The short way of a hook: a tensor that comes as the one before is read where it lies, and counted, without Python.

   All that is looked at, and all that is changed, are the objects of Python that the long way (icshift/hooks/watcher.py) looks
   at and changes. So the two may take turns at any call, and where anything is not as it was, or an error occurs before
   anything was changed, the answer is that nothing was taken: then the long way does it all. */
#include <math.h>

#include "kernel.h"
#include "waiting.h"

#define LONG_WORK (1 << 18) /* as in module.c */

/* What a taker is about; what it has to know of the last tensor begins with FITS. */
enum {
    NAME,       /* of the module */
    CALLS,      /* whose `now` is the forward of this thread */
    ATTACHMENT, /* of the hooks: `attached` or not, or `_stale` */
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

static PyTypeObject *waiting_type;

static PyObject *names[12];
enum { NOW, PADDING, FORWARD_, OPENED, MADE, ATTACHED, STALE, BEGUN, DRAWN, PLACES, SECONDS, BLOCKS };
static const char *const spelt[] = {"now",     "padding", "forward", "open",    "made",    "attached",
                                    "_stale",  "_begun",  "_drawn",  "places",  "seconds", "blocks"};

/* Whether an attribute is this object. */
static int is(PyObject *o, int name, PyObject *wanted)
{
    PyObject *found = PyObject_GetAttr(o, names[name]);
    Py_XDECREF(found);
    return found == wanted;
}

/* Whether a function returns this object, of which there is one. */
static int returns(PyObject *function, PyObject *argument, PyObject *wanted)
{
    PyObject *found = argument ? PyObject_CallFunctionObjArgs(function, argument, NULL) : PyObject_CallNoArgs(function);
    Py_XDECREF(found);
    return found == wanted;
}

static int is_quiet(PyObject *quiet)
{
    for (Py_ssize_t k = 0, count = PyTuple_Size(quiet); k + 1 < count; k += 2)
        if (!returns(PyTuple_GetItem(quiet, k), NULL, PyTuple_GetItem(quiet, k + 1)))
            return 0;
    return 1;
}

/* Whether the forward that goes on is of the kind of the last, and the module's first call in it. */
static int is_first_call(taker_t *t, PyObject *now, PyObject **made)
{
    if (!is(now, PADDING, Py_None) || !is(now, FORWARD_, t->of[FORWARD]))
        return 0;
    PyObject *open = PyObject_GetAttr(now, names[OPENED]);
    Py_ssize_t depth = open ? PyObject_Size(open) : 0;
    Py_XDECREF(open);
    if (depth < 1)
        return 0;
    *made = PyObject_GetAttr(now, names[MADE]);
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
    PyObject *all = PyObject_GetAttr(t->of[SAMPLER], names[DRAWN]);
    PyObject *places = all ? PyDict_GetItemWithError(all, t->of[TOTAL]) : NULL;
    Py_XINCREF(places);
    Py_XDECREF(all);
    if (places || PyErr_Occurred())
        return places;
    PyObject *draw = PyObject_GetAttr(t->of[SAMPLER], names[PLACES]);
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
               (t->of[OBSERVER] == Py_None || PyObject_SetAttr(t->of[OBSERVER], names[BEGUN], Py_True) == 0);
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

/* Adds to a number that is an attribute. */
static void add(PyObject *o, int name, PyObject *number)
{
    PyObject *before = PyObject_GetAttr(o, names[name]), *after = before && number ? PyNumber_Add(before, number) : NULL;
    if (after)
        PyObject_SetAttr(o, names[name], after);
    Py_XDECREF(before);
    Py_XDECREF(after);
}

static int take_in(taker_t *t, PyObject *output)
{
    PyObject *address = NULL, *made = NULL;
    int taken = 0;
    PyObject *now = PyObject_GetAttr(t->of[CALLS], names[NOW]);
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

static int hears(taker_t *t)
{
    return t->of[FITS] && is(t->of[ATTACHMENT], ATTACHED, Py_True) && is(t->of[ATTACHMENT], STALE, Py_False) &&
           PyDict_Size(t->of[ONLY]) == 0;
}

static void forget(taker_t *t, int first)
{
    for (int k = first; k < REFERENCES; k++)
        Py_CLEAR(t->of[k]);
}

/* Whatever was raised meanwhile stays raised. */
static void release_lock(taker_t *t)
{
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    Py_XDECREF(PyObject_CallNoArgs(t->of[RELEASE]));
    PyErr_Restore(kind, error, trace);
}

static int take(taker_t *t, PyObject *output)
{
    if (t->busy || !hears(t) || !returns(t->of[ACQUIRE], Py_False, Py_True))
        return 0;
    t->busy = 1;
    PyObject *began = PyObject_CallNoArgs(t->of[CLOCK]);
    int taken = began && take_in(t, output);
    PyObject *ended = taken ? PyObject_CallNoArgs(t->of[CLOCK]) : NULL, *one = ended ? PyLong_FromLong(1) : NULL;
    if (one) {
        PyObject *seconds = PyNumber_Subtract(ended, began);
        add(t->of[WATCH], SECONDS, seconds);
        add(t->of[WATCH], BLOCKS, one);
        Py_XDECREF(seconds);
    }
    Py_XDECREF(began);
    Py_XDECREF(ended);
    Py_XDECREF(one);
    t->busy = 0;
    release_lock(t);
    if (t->outdated)
        forget(t, OF_ALL);
    t->outdated = 0;
    return taken;
}

/* What is no error, as Ctrl-C within a function of Python that is called from here, is the training's. */
static PyObject *py_take(PyObject *self, PyObject *const *seen, Py_ssize_t given)
{
    taker_t *t = (taker_t *)self;
    int taken = given == 2 && take(t, seen[1]);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear();
    return PyBool_FromLong(taken);
}

static PyObject *py_forget(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    taker_t *t = (taker_t *)self;
    if (t->busy)
        t->outdated = 1;
    else
        forget(t, OF_ALL);
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
    if (!PyObject_TypeCheck(o[WAITING - OF_ALL], waiting_type) || t->busy || !PyTuple_Check(o[QUIET - OF_ALL]) || n < 1 || n > like.rows * like.positions || like.units < 1 || !PyDict_Check(o[OPEN - OF_ALL]) ||
        !PyDict_Check(o[FAILED - OF_ALL]) || !PyDict_Check(o[TICKING - OF_ALL])) {
        PyErr_SetString(PyExc_ValueError, "a taker has to know other things");
        return NULL;
    }
    for (int k = OF_ALL; k < REFERENCES; k++) {
        PyObject *before = t->of[k];
        t->of[k] = Py_NewRef(o[k - OF_ALL]);
        Py_XDECREF(before);
    }
    t->like = like;
    t->n = n;
    Py_RETURN_NONE;
}

static PyObject *make(PyTypeObject *type, PyObject *given, PyObject *named)
{
    (void)named;
    if (!takes("Taker", PyTuple_Size(given), OF_ALL))
        return NULL;
    if (!PyDict_Check(PyTuple_GetItem(given, ONLY))) {
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
    taker_t *t = (taker_t *)self;
    Py_VISIT(Py_TYPE(self));
    for (int k = 0; k < REFERENCES; k++)
        Py_VISIT(t->of[k]);
    return 0;
}

static int clear(PyObject *self)
{
    forget((taker_t *)self, 0);
    return 0;
}

static void end(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"take", (PyCFunction)(void (*)(void))py_take, METH_FASTCALL, "What a module was given and what it returned; returns whether "
                                                                  "that was taken."},
    {"know", (PyCFunction)(void (*)(void))py_know, METH_FASTCALL, "What is to be known of a tensor to take the next."},
    {"forget", py_forget, METH_NOARGS, "Nothing is known any more."},
    {0}};

static PyType_Slot slots[] = {{Py_tp_new, make},     {Py_tp_dealloc, end}, {Py_tp_traverse, traverse},
                              {Py_tp_clear, clear}, {Py_tp_methods, methods}, {0}};

PyType_Spec taker_spec = {"icshift._kernel.Taker", sizeof(taker_t), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};

/* Adds the types of both to the module. */
int add_takers(PyObject *module)
{
    for (int k = 0; k < (int)(sizeof spelt / sizeof *spelt); k++)
        if (!names[k] && !(names[k] = PyUnicode_InternFromString(spelt[k])))
            return 0;
    PyObject *waiting = PyType_FromSpec(&waiting_spec), *taker = PyType_FromSpec(&taker_spec);
    waiting_type = (PyTypeObject *)waiting;
    int added = waiting && taker && PyModule_AddObjectRef(module, "Waiting", waiting) == 0 &&
                PyModule_AddObjectRef(module, "Taker", taker) == 0;
    Py_XDECREF(taker);
    return added;
}
