/* The short way of the hooks by which a forward begins and ends: one that is as those before is counted, without Python.

   As of taker.c: what is looked at and changed are the objects of the long way (icshift/hooks/watcher.py,
   icshift/record/steady.py), and where anything is not as it was, nothing is done. */
#include "kernel.h"
#include "objects.h"

/* What a passage is about; what it has to know of the last forward begins with FITS. */
enum {
    PART,    /* of the model that is called */
    CALLS,   /* whose `now` is the forward of this thread */
    ONLY,    /* who alone hears which thread: empty where everybody does */
    ACQUIRE, /* as of a taker */
    RELEASE,
    WATCH,
    CLOCK,
    ADDRESS,
    WATCHER, /* which counts forwards that go on */
    ENDING,  /* attributes, and what they are where a forward may end */
    CALM,    /* functions, and what they return where one may */
    OF_ALL,
    FITS = OF_ALL, /* whether a tensor is as that which it was called with */
    QUIET,         /* functions and what each returns where a thread runs a model as is usual */
    SIGNS,         /* attributes, and what they are where nothing is to be decided as a forward begins */
    STEADY,        /* which has steps to come at whose forwards there is not */
    FORWARDS,      /* which know whether there was one since the last step */
    FORWARD,       /* the kind of forward */
    EXAMPLES,      /* which count what reached the model, */
    PHASE,         /* in this phase */
    SEEN,          /* here */
    DRAWN,         /* places of an example, */
    FACTORS,       /* and what each is multiplied with */
    REFERENCES
};

typedef struct {
    PyObject_HEAD
    PyObject *of[REFERENCES];
    int64_t rows, row, size, places; /* examples, values of one, bytes of a value, places of one that are looked at: 0 where
                                        it is settled that examples are not known */
    int busy, outdated; /* beginning a forward; told meanwhile, by another thread, to forget */
} passage_t;

static int is_empty(PyObject *o, int name, PyObject **found)
{
    *found = PyObject_GetAttr(o, names[name]);
    return *found && PyObject_Size(*found) == 0;
}

/* Whether the phase is counted where it was. */
static int is_counted(passage_t *p)
{
    PyObject *phases = PyObject_GetAttr(p->of[EXAMPLES], names[NAME__phases]);
    int counted = phases && PyDict_GetItemWithError(phases, p->of[PHASE]) == p->of[SEEN];
    Py_XDECREF(phases);
    return counted && is(p->of[SEEN], names[NAME_known], p->places ? Py_True : Py_False);
}

/* The sum of the hashes of the examples, in `sum`; returns whether it could be added up. What a network computed is none. */
static int add_up(passage_t *p, PyObject *given, uint64_t *sum)
{
    if (!p->places)
        return 1;
    if (!is(given, names[NAME_grad_fn], Py_None))
        return 0;
    PyObject *address = PyObject_CallFunctionObjArgs(p->of[ADDRESS], given, NULL);
    void *values = address ? PyLong_AsVoidPtr(address) : NULL;
    Py_XDECREF(address);
    held_t held = {.count = 0};
    places_t at = {NULL, NULL, p->places};
    at.drawn = known(&held, p->of[DRAWN], at.n * (int64_t)sizeof(int64_t));
    at.factors = known(&held, p->of[FACTORS], at.n * (int64_t)sizeof(int64_t));
    int right = values && at.drawn && at.factors && !PyErr_Occurred();
    if (right)
        *sum = (uint64_t)hash_rows(values, p->rows, p->row, (int)p->size, at);
    release(&held);
    return right;
}

/* Adds examples to those that the phase has seen. */
static int count(passage_t *p, uint64_t sum)
{
    if (!p->places)
        return 1;
    PyObject *before = PyObject_GetAttr(p->of[SEEN], names[NAME_total]);
    PyObject *after = before ? PyLong_FromUnsignedLongLong(PyLong_AsUnsignedLongLongMask(before) + sum) : NULL;
    int done = after && set(p->of[SEEN], NAME_total, after) &&
               set_number(p->of[SEEN], NAME_examples, number(p->of[SEEN], NAME_examples) + p->rows);
    Py_XDECREF(before);
    Py_XDECREF(after);
    return done;
}

/* The forward goes on. */
static int note(passage_t *p, PyObject *now, PyObject *open)
{
    PyObject *made = PyObject_GetAttr(now, names[NAME_made]);
    if (made)
        PyDict_Clear(made);
    Py_XDECREF(made);
    return made && PyList_Append(open, p->of[PART]) == 0 && set(now, NAME_padding, Py_None) && set(now, NAME_known, Py_True) &&
           set(now, NAME_forward, p->of[FORWARD]) && set(p->of[FORWARDS], NAME_trained, Py_True) &&
           set(p->of[FORWARDS], NAME__computed, Py_True) &&
           set_number(p->of[WATCHER], NAME__going_on, number(p->of[WATCHER], NAME__going_on) + 1);
}

static int enter(passage_t *p, PyObject *given)
{
    timed_t timed = {p->of[ACQUIRE], p->of[RELEASE], p->of[WATCH], p->of[CLOCK], NULL};
    if (p->busy || !p->of[FITS] || !are(p->of[SIGNS]) || PyDict_Size(p->of[ONLY]) || number(p->of[STEADY], NAME__going_on) < 1 ||
        !begin(&timed))
        return 0;
    PyObject *now = PyObject_GetAttr(p->of[CALLS], names[NAME_now]), *open = NULL;
    uint64_t sum = 0;
    p->busy = 1;
    int done = now && is_empty(now, NAME_open, &open) && returns(p->of[FITS], given, Py_True) && is_quiet(p->of[QUIET]) &&
               is_counted(p) && add_up(p, given, &sum) && count(p, sum) &&
               note(p, now, open);
    Py_XDECREF(open);
    Py_XDECREF(now);
    p->busy = 0;
    finish(&timed, done);
    if (p->outdated)
        let_go_of(p->of, OF_ALL, REFERENCES);
    p->outdated = 0;
    return done;
}

static int leave(passage_t *p)
{
    timed_t timed = {p->of[ACQUIRE], p->of[RELEASE], p->of[WATCH], p->of[CLOCK], NULL};
    if (!are(p->of[ENDING]) || PyDict_Size(p->of[ONLY]) || !is_quiet(p->of[CALM]) || !begin(&timed))
        return 0;
    PyObject *now = PyObject_GetAttr(p->of[CALLS], names[NAME_now]);
    PyObject *open = now && is(now, names[NAME_known], Py_True) ? PyObject_GetAttr(now, names[NAME_open]) : NULL;
    int64_t going_on = number(p->of[WATCHER], NAME__going_on);
    int done = open && PyList_Check(open) && PyList_Size(open) == 1 && PyList_GetItem(open, 0) == p->of[PART] &&
               PyList_SetSlice(open, 0, 1, NULL) == 0 &&
               set_number(p->of[WATCHER], NAME__going_on, going_on > 0 ? going_on - 1 : 0);
    Py_XDECREF(open);
    Py_XDECREF(now);
    finish(&timed, done);
    return done;
}

/* A forward is called with these arguments, and these named ones. */
static PyObject *py_enter(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    int alone = given == 2 && PyTuple_Check(o[0]) && PyTuple_Size(o[0]) == 1 && PyDict_Check(o[1]) && !PyDict_Size(o[1]);
    return answer(alone && enter((passage_t *)self, PyTuple_GetItem(o[0], 0)));
}

static PyObject *py_leave(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    (void)o, (void)given;
    return answer(leave((passage_t *)self));
}

static PyObject *py_forget(PyObject *self, PyObject *nothing)
{
    (void)nothing;
    passage_t *p = (passage_t *)self;
    if (p->busy)
        p->outdated = 1;
    else
        let_go_of(p->of, OF_ALL, REFERENCES);
    Py_RETURN_NONE;
}

/* Notes what to know of the last forward: the references, then how many examples there were, values and bytes of one, and the
   places of one that are looked at. */
static PyObject *py_know(PyObject *self, PyObject *const *o, Py_ssize_t given)
{
    passage_t *p = (passage_t *)self;
    int references = REFERENCES - OF_ALL;
    if (!takes("know", given, references + 4))
        return NULL;
    int64_t rows = integer(o[references]), row = integer(o[references + 1]), size = integer(o[references + 2]);
    held_t held = {.count = 0};
    int64_t places = integer(o[references + 3]);
    const int64_t *drawn = known(&held, o[DRAWN - OF_ALL], places * (int64_t)sizeof(int64_t));
    int right = !PyErr_Occurred() && (drawn || !places) && rows >= 0 && (size == 1 || size == 2 || size == 4 || size == 8) &&
                PyTuple_Check(o[QUIET - OF_ALL]) && PyTuple_Check(o[SIGNS - OF_ALL]);
    for (int64_t k = 0; right && k < places; k++)
        right = drawn[k] >= 0 && drawn[k] < row;
    release(&held);
    if (!right) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a passage has to know other things");
        return NULL;
    }
    if (p->busy)
        Py_RETURN_NONE;
    hold_all(p->of + OF_ALL, o, references);
    p->rows = rows;
    p->row = row;
    p->size = size;
    p->places = places;
    Py_RETURN_NONE;
}

static PyObject *make(PyTypeObject *type, PyObject *given, PyObject *named)
{
    (void)named;
    if (!takes("Passage", PyTuple_Size(given), OF_ALL))
        return NULL;
    if (!PyDict_Check(PyTuple_GetItem(given, ONLY)) || !PyTuple_Check(PyTuple_GetItem(given, ENDING)) ||
        !PyTuple_Check(PyTuple_GetItem(given, CALM))) {
        PyErr_SetString(PyExc_TypeError, "a passage is given other things");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    passage_t *p = (passage_t *)allocate(type, 0);
    for (int k = 0; p && k < OF_ALL; k++)
        p->of[k] = Py_NewRef(PyTuple_GetItem(given, k));
    return (PyObject *)p;
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    return visit_all(self, ((passage_t *)self)->of, REFERENCES, visit, arg);
}

static int clear(PyObject *self)
{
    let_go_of(((passage_t *)self)->of, 0, REFERENCES);
    return 0;
}

static void end(PyObject *self) { end_of(self, ((passage_t *)self)->of, REFERENCES); }

static PyMethodDef methods[] = {
    {"enter", (PyCFunction)(void (*)(void))py_enter, METH_FASTCALL, "Arguments of a call; returns whether the forward began."},
    {"leave", (PyCFunction)(void (*)(void))py_leave, METH_FASTCALL, "Returns whether the forward that this call is has ended."},
    {"know", (PyCFunction)(void (*)(void))py_know, METH_FASTCALL, "What is to be known of a forward to begin the next."},
    {"forget", py_forget, METH_NOARGS, "Nothing is known any more."},
    {0}};

static PyType_Slot slots[] = {{Py_tp_new, make},     {Py_tp_dealloc, end}, {Py_tp_traverse, traverse},
                              {Py_tp_clear, clear}, {Py_tp_methods, methods}, {0}};

PyType_Spec passage_spec = {"icshift._kernel.Passage", sizeof(passage_t), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, slots};
