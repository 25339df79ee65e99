/* Columns sorted side by side: a vector holds a row of WIDTH neighbouring columns, and a sorting network, whose steps do
   not depend on the values, sorts all of them at once without a branch.

   Values are compared as integers in the order of floats. So a NaN has a place like any other number, minimum and
   maximum are one instruction each, and nothing has to be promised to the compiler about what values there are. C++,
   because C has no choice per lane. */
#pragma once
#include <stdint.h>
#include <string.h>

#include "levels.h"

#define WIDTH 8
typedef float floats __attribute__((vector_size(4 * WIDTH), may_alias));
typedef int32_t keys __attribute__((vector_size(4 * WIDTH), may_alias));
typedef double doubles __attribute__((vector_size(8 * WIDTH)));
typedef int64_t longs __attribute__((vector_size(8 * WIDTH)));

#define INFINITE 0x7f800000 /* the key, and the bits, of infinity; above it are the NaN */

INLINE keys all(int32_t key) { return key - (keys){0}; }

/* Bits of floats to keys and back: of negative ones all but the sign turn over. */
INLINE keys turned(keys bits) { return bits ^ ((bits >> 31) & 0x7fffffff); }

/* `lanes` values of a row; of the other lanes zeros. */
INLINE keys load(const float *x, int lanes)
{
    keys bits = {0};
    if (lanes == WIDTH)
        memcpy(&bits, x, sizeof bits);
    else
        memcpy(&bits, x, lanes * sizeof *x);
    return bits;
}

template <typename T, typename V> INLINE void store(T *x, V row, int lanes)
{
    if (lanes == WIDTH)
        memcpy(x, &row, sizeof row);
    else
        memcpy(x, &row, lanes * sizeof *x);
}

INLINE void exchange(keys *a, keys *b)
{
    keys p = *a, q = *b;
    *a = p < q ? p : q;
    *b = p < q ? q : p;
}

/* Batcher's merge exchange (Knuth, The Art of Computer Programming 3, 5.2.2), unrolled by templates: 63 exchanges for
   16 rows, which fit the registers. */
template <int FIRST, int N, int STEP> INLINE void merge_exchange(keys *v)
{
    if constexpr (2 * STEP < N) {
        merge_exchange<FIRST, N, 2 * STEP>(v);
        merge_exchange<FIRST + STEP, N, 2 * STEP>(v);
#pragma GCC unroll 16
        for (int i = FIRST + STEP; i + STEP < FIRST + N; i += 2 * STEP)
            exchange(v + i, v + i + STEP);
    } else {
        exchange(v + FIRST, v + FIRST + STEP);
    }
}

template <int FIRST, int N> INLINE void sort_few(keys *v)
{
    if constexpr (N > 1) {
        sort_few<FIRST, N / 2>(v);
        sort_few<FIRST + N / 2, N / 2>(v);
        merge_exchange<FIRST, N, 1>(v);
    }
}

/* Rows to registers and back, one by one: of a `memcpy` of all of them gcc makes stores of half a row, and reading a row
   that was just written so waits until both halves are in the cache, which takes longer than the sort. */
INLINE void copy16(const keys *from, keys *to)
{
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        to[i] = from[i];
}

/* 16 rows of which every later is at most one rise and one fall away from sorted: the last four stages of a merge. */
INLINE void clean16(keys *v)
{
    keys r[16];
    copy16(v, r);
#pragma GCC unroll 4
    for (int d = 8; d; d /= 2)
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            if (!(i & d))
                exchange(r + i, r + i + d);
    copy16(r, v);
}

INLINE void sort16(keys *v)
{
    keys r[16];
    copy16(v, r);
    sort_few<0, 16>(r);
    copy16(r, v);
}

/* Two sorted halves become one: Batcher's bitonic merge. n is a power of two, at least 64. Two stages are done while
   rows are in registers, since loading and storing would cost as much as comparing. */
INLINE void merge_halves(keys *v, int n)
{
    int quarter = n / 4, d = n / 8;
    for (int i = 0; i < quarter; i++) { /* the second half is read backwards, by which both are one rise and fall */
        keys a = v[i], b = v[i + quarter], c = v[n - 1 - i - quarter], e = v[n - 1 - i];
        exchange(&a, &e);
        exchange(&b, &c);
        exchange(&a, &b);
        exchange(&c, &e);
        v[i] = a;
        v[i + quarter] = b;
        v[n - 1 - i - quarter] = c;
        v[n - 1 - i] = e;
    }
    for (; d >= 32; d /= 4)
        for (int j = 0; j < n; j += 2 * d)
            for (int i = j; i < j + d / 2; i++) {
                keys a = v[i], b = v[i + d / 2], c = v[i + d], e = v[i + d + d / 2];
                exchange(&a, &c);
                exchange(&b, &e);
                exchange(&a, &b);
                exchange(&c, &e);
                v[i] = a;
                v[i + d / 2] = b;
                v[i + d] = c;
                v[i + d + d / 2] = e;
            }
    if (d == 16)
        for (int j = 0; j < n; j += 32)
            for (int i = j; i < j + 16; i++)
                exchange(v + i, v + i + 16);
    for (int j = 0; j < n; j += 16)
        clean16(v + j);
}

/* The power of two, at least 16, that n rows are filled up to. */
INLINE int padded(int n)
{
    int power = 16;
    while (power < n)
        power *= 2;
    return power;
}

/* Whether every column of n rows, a multiple of 8, is sorted. It is looked at after each 8 rows: mostly that is enough. */
INLINE int in_order(const keys *v, int n)
{
    for (int i = 0; i < n; i += 8) {
        keys fall = v[i] < v[i ? i - 1 : 0];
#pragma GCC unroll 8
        for (int k = i + 1; k < i + 8; k++)
            fall |= v[k] < v[k - 1];
        int any = 0;
        for (int l = 0; l < WIDTH; l++)
            any |= fall[l];
        if (any)
            return 0;
    }
    return 1;
}

INLINE void sort32(keys *v)
{
    sort16(v);
    sort16(v + 16);
    for (int i = 0; i < 16; i++)
        exchange(v + i, v + 31 - i);
    clean16(v);
    clean16(v + 16);
}

INLINE void merge_all(keys *v, int power)
{
    for (int m = 64; m <= power; m *= 2)
        for (int j = 0; j < power; j += m)
            merge_halves(v + j, m);
}

/* Sorts every column of n rows, which are filled up to `power` of them. */
INLINE void sort_columns(keys *v, int n, int power)
{
    for (int i = n; i < power; i++)
        v[i] = all(INT32_MAX);
    if (power == 16)
        sort16(v);
    for (int j = 0; j + 32 <= power; j += 32)
        sort32(v + j);
    merge_all(v, power);
}

/* The same of a power of two of rows, at least 64, many of which lie in sorted runs. Meanwhile as many rows from `next` on
   are brought to the cache, each so many floats after the one before; NULL for none. */
INLINE void sort_runs(keys *v, int power, const float *next, int64_t stride)
{
    for (int j = 0; j < power; j += 32) {
        for (int i = j; next && i < j + 32; i++)
            __builtin_prefetch(next + i * stride);
        if (!in_order(v + j, 32))
            sort32(v + j);
    }
    merge_all(v, power);
}
