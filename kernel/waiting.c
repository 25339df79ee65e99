/* The counts of what waits in an accumulator, and closing a step that is as the one before: see
   icshift/sketch/waiting.py. The arrays are the accumulator's; they are held so that their memory stays. */
#include "waiting.h"
#include "objects.h"

#include <structmember.h>

static void let_go(waiting_t *w)
{
    while (w->count)
        PyBuffer_Release(&w->held[--w->count]);
}

static PyObject *hold(PyObject *self, PyObject *const *arrays, Py_ssize_t given)
{
    waiting_t *w = (waiting_t *)self;
    if (!takes("hold", given, ARRAYS))
        return NULL;
    let_go(w);
    for (int k = 0; k < ARRAYS; k++) {
        if (PyObject_GetBuffer(arrays[k], &w->held[k], PyBUF_WRITABLE) < 0) {
            let_go(w);
            return NULL;
        }
        w->count++;
    }
    Py_RETURN_NONE;
}

static PyObject *empty(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    waiting_t *w = (waiting_t *)self;
    w->filled = w->closed = w->opened = w->n = w->room = 0;
    Py_RETURN_NONE;
}

/* Closes a step of one forward, if it has as many rows as those before and is not the last that there is room for. */
static PyObject *tick(PyObject *self, PyObject *number)
{
    waiting_t *w = (waiting_t *)self;
    int64_t step = integer(number);
    if (PyErr_Occurred())
        return NULL;
    if (w->opened != 1 || !w->closed || w->closed + 1 >= w->room || !fits(w, STEPS, w->closed + 1, 2 * sizeof(int64_t)))
        Py_RETURN_FALSE;
    const int64_t *span = w->held[SPANS].buf;
    if (span[1] - span[0] != w->n || span[1] != w->filled)
        Py_RETURN_FALSE;
    int64_t *closed = (int64_t *)w->held[STEPS].buf + 2 * w->closed;
    closed[0] = step;
    closed[1] = span[2];
    w->closed++;
    w->opened = 0;
    Py_RETURN_TRUE;
}

static void end(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    let_go((waiting_t *)self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"filled", T_LONGLONG, offsetof(waiting_t, filled), 0, NULL}, {"closed", T_LONGLONG, offsetof(waiting_t, closed), 0, NULL},
    {"opened", T_LONGLONG, offsetof(waiting_t, opened), 0, NULL}, {"n", T_LONGLONG, offsetof(waiting_t, n), 0, NULL},
    {"room", T_LONGLONG, offsetof(waiting_t, room), 0, NULL},     {0}};

static PyMethodDef methods[] = {{"hold", (PyCFunction)(void (*)(void))hold, METH_FASTCALL, "rows, spans, steps, tables, centre"},
                                {"empty", empty, METH_NOARGS, "Nothing waits."},
                                {"tick", tick, METH_O, "step"},
                                {0}};

static PyType_Slot slots[] = {{Py_tp_dealloc, end}, {Py_tp_members, members}, {Py_tp_methods, methods}, {0}};

PyType_Spec waiting_spec = {"icshift._kernel.Waiting", sizeof(waiting_t), 0, Py_TPFLAGS_DEFAULT, slots};
