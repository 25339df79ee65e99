/* Arguments of the functions of `icshift._kernel`: buffers, whose lengths are checked here, and whole numbers. */
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define MOST_LEVELS 64 /* of all sketches: two reach it after 10^18 values */

/* Buffers that a call holds until it returns. */
typedef struct {
    Py_buffer views[MOST_LEVELS + 8];
    int count;
} held_t;

static inline void release(held_t *held)
{
    while (held->count)
        PyBuffer_Release(&held->views[--held->count]);
}

/* The memory of an array of at least so many bytes, NULL for None. Where there is none an error is set. */
static inline void *memory(held_t *held, PyObject *array, int flags, int64_t bytes)
{
    if (array == Py_None || PyErr_Occurred())
        return NULL;
    Py_buffer *view = &held->views[held->count];
    if (PyObject_GetBuffer(array, view, flags) < 0)
        return NULL;
    held->count++;
    if (bytes < 0 || view->len < bytes) {
        PyErr_Format(PyExc_ValueError, "an array of %zd bytes, where %lld are needed", view->len, (long long)bytes);
        return NULL;
    }
    return view->buf;
}

static inline const void *known(held_t *held, PyObject *array, int64_t bytes) { return memory(held, array, PyBUF_SIMPLE, bytes); }
static inline void *wanted(held_t *held, PyObject *array, int64_t bytes) { return memory(held, array, PyBUF_WRITABLE, bytes); }
static inline int64_t integer(PyObject *o) { return PyLong_AsLongLong(o); }

static inline int takes(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted)
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name, wanted, given);
    return given == wanted;
}

static inline PyObject *done(held_t *held)
{
    release(held);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}
