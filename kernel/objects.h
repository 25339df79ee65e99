/* Objects of Python that the short ways of hooks look at and change: attributes, functions, a lock and a stopwatch. */
#pragma once
#include "arguments.h"

/* Names of attributes, made once. */
#define NAMES(X)                                                                                                               \
    X(now) X(padding) X(forward) X(open) X(made) X(known) X(attached) X(_stale) X(_begun) X(_drawn) X(places) X(seconds)       \
    X(blocks) X(_going_on) X(_phases) X(total) X(examples) X(grad_fn) X(trained) X(_computed)
#define IN_ENUM(name) NAME_##name,
enum { NAMES(IN_ENUM) ALL_NAMES };
extern PyObject *names[ALL_NAMES];

/* Whether an attribute is this object. */
static inline int is(PyObject *o, PyObject *name, PyObject *wanted)
{
    PyObject *found = PyObject_GetAttr(o, name);
    Py_XDECREF(found);
    return found == wanted;
}

/* Whether attributes are as they have to be: an object, the name of one of its attributes, what that is, and the next. */
static inline int are(PyObject *signs)
{
    for (Py_ssize_t k = 0, count = PyTuple_Size(signs); k + 2 < count; k += 3)
        if (!is(PyTuple_GetItem(signs, k), PyTuple_GetItem(signs, k + 1), PyTuple_GetItem(signs, k + 2)))
            return 0;
    return 1;
}

/* Whether a function returns this object, of which there is one. */
static inline int returns(PyObject *function, PyObject *argument, PyObject *wanted)
{
    PyObject *found = argument ? PyObject_CallFunctionObjArgs(function, argument, NULL) : PyObject_CallNoArgs(function);
    Py_XDECREF(found);
    return found == wanted;
}

/* Whether functions return what they do where a thread runs a model as is usual: each is followed by that. */
static inline int is_quiet(PyObject *functions)
{
    for (Py_ssize_t k = 0, count = PyTuple_Size(functions); k + 1 < count; k += 2)
        if (!returns(PyTuple_GetItem(functions, k), NULL, PyTuple_GetItem(functions, k + 1)))
            return 0;
    return 1;
}

static inline int set(PyObject *o, int name, PyObject *value) { return PyObject_SetAttr(o, names[name], value) == 0; }

/* A whole number that is an attribute; -1 where there is none. */
static inline int64_t number(PyObject *o, int name)
{
    PyObject *found = PyObject_GetAttr(o, names[name]);
    int64_t value = found ? PyLong_AsLongLong(found) : -1;
    Py_XDECREF(found);
    return value;
}

static inline int set_number(PyObject *o, int name, int64_t value)
{
    PyObject *made = PyLong_FromLongLong(value);
    int done = made && set(o, name, made);
    Py_XDECREF(made);
    return done;
}

/* The lock that one thread at a time holds while hooks do their work, and the stopwatch that it is timed by. */
typedef struct {
    PyObject *acquire, *release, *watch, *clock, *began;
} timed_t;

/* Whether the lock is free; then it is taken, and time begins. */
static inline int begin(timed_t *t)
{
    if (!returns(t->acquire, Py_False, Py_True))
        return 0;
    t->began = PyObject_CallNoArgs(t->clock);
    return 1;
}

/* Ends what `begin` began. Time counts where all was done; what was raised meanwhile stays raised. */
static inline void finish(timed_t *t, int done)
{
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyObject *ended = done ? PyObject_CallNoArgs(t->clock) : NULL;
    PyObject *passed = ended && t->began ? PyNumber_Subtract(ended, t->began) : NULL;
    PyObject *before = passed ? PyObject_GetAttr(t->watch, names[NAME_seconds]) : NULL;
    PyObject *after = before ? PyNumber_Add(before, passed) : NULL;
    if (after && set(t->watch, NAME_seconds, after))
        set_number(t->watch, NAME_blocks, number(t->watch, NAME_blocks) + 1);
    Py_XDECREF(t->began);
    Py_XDECREF(ended);
    Py_XDECREF(passed);
    Py_XDECREF(before);
    Py_XDECREF(after);
    Py_XDECREF(PyObject_CallNoArgs(t->release));
    PyErr_Restore(kind, error, trace);
}

/* What a short way returns: whether all was done. What is no error, as Ctrl-C within a function of Python that is called from
   here, is the training's. */
static inline PyObject *answer(int done)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear();
    return PyBool_FromLong(done);
}

/* References of an object, from the first on, are let go. */
static inline void let_go_of(PyObject **of, int first, int count)
{
    for (int k = first; k < count; k++)
        Py_CLEAR(of[k]);
}

/* Takes over references to so many objects. */
static inline void hold_all(PyObject **of, PyObject *const *objects, int count)
{
    for (int k = 0; k < count; k++) {
        PyObject *before = of[k];
        of[k] = Py_NewRef(objects[k]);
        Py_XDECREF(before);
    }
}

/* What an object of references does for the collector of cycles: each is visited, or let go. */
static inline int visit_all(PyObject *self, PyObject **of, int count, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    for (int k = 0; k < count; k++)
        Py_VISIT(of[k]);
    return 0;
}

/* Ends an object of references. */
static inline void end_of(PyObject *self, PyObject **of, int count)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    let_go_of(of, 0, count);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

extern PyType_Spec waiting_spec, taker_spec, passage_spec;
extern PyTypeObject *waiting_type;
