/* What waits in an accumulator: counts that icshift/sketch/waiting.py describes, and the arrays that they are about. */
#pragma once
#include "arguments.h"

enum { ROWS, SPANS, STEPS, TABLES, CENTRE, ARRAYS };

typedef struct {
    PyObject_HEAD
    long long filled, closed, opened, n, room;
    Py_buffer held[ARRAYS]; /* [rows, units], [forwards, 3], [steps, 2], [tables, 6, units], [units] */
    int count;
} waiting_t;

/* So many of the rows, forwards or tables, of `size` bytes each, fit the memory that is held for them. */
static inline int fits(const waiting_t *w, int array, int64_t count, int64_t size)
{
    return w->count == ARRAYS && count * size <= w->held[array].len;
}

