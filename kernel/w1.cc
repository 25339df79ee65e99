/* Wasserstein-1 of two samples of every unit, exactly, without sorting them.

   It is the integral of |F - G|. Values are counted in buckets of equal width. As long as F - G keeps its sign, its
   integral is a sum over the values in any order; only in buckets within which it may change its sign does their order
   matter, and these are few. They are done in the same way, with narrower buckets, until few values are left, which are
   sorted. F - G is counted in parts of 1 / (n m), in whole numbers. */
#include <algorithm>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "levels.h"

#define FEW 16 /* values that are sorted at once */
#define FIRST 4096 /* buckets of all values */
#define FURTHER 256 /* buckets within a bucket */
#define UNITS 16 /* that are copied out of the rows together: a cache line of float */
#define AHEAD 24 /* rows that are fetched ahead: one is seldom near the one before */

/* The values of both samples: of the first each moves F - G up by `up`, of the second down by `down`. */
template <typename T> struct both_t {
    T *a, *b;
    int64_t n, m, up, down;
};

/* The integral of |D| from one edge to another, over at most ROOM values, of which `d` is D before the first; edges are
   relative to `low`. Each value is put where as many others are less: comparing all with all takes no branch that nobody
   could predict. */
template <int ROOM, typename T> INLINE double sorted_few(both_t<T> s, double d, double low, double from, double to)
{
    T values[ROOM], sorted[ROOM];
    double by[ROOM], sorted_by[ROOM];
    int32_t less[ROOM] = {0};
    int count = (int)(s.n + s.m);
    for (int k = 0; k < ROOM; k++) {
        values[k] = k < s.n ? s.a[k] : k < count ? s.b[k - s.n] : (T)INFINITY;
        by[k] = k < s.n ? (double)s.up : -(double)s.down;
    }
    for (int k = 0; k < count; k++)
        for (int i = 0; i < ROOM; i++)
            less[i] += i > k ? values[k] <= values[i] : values[k] < values[i];
    for (int k = 0; k < count; k++) {
        sorted[less[k]] = values[k];
        sorted_by[less[k]] = by[k];
    }
    double sum = 0;
    for (int k = 0; k < count; k++) {
        double value = (double)sorted[k] - low;
        sum += fabs(d) * (value - from);
        from = value;
        d += sorted_by[k];
    }
    return sum + fabs(d) * (to - from);
}

/* The same for any number, of values whose differences have no inverse. */
template <typename T> static double sorted_all(both_t<T> s, int64_t d)
{
    std::sort(s.a, s.a + s.n);
    std::sort(s.b, s.b + s.m);
    double sum = 0, before = 0;
    for (int64_t i = 0, j = 0; i < s.n || j < s.m;) {
        int first = j == s.m || (i < s.n && s.a[i] <= s.b[j]);
        double value = first ? s.a[i] : s.b[j];
        if (i + j)
            sum += fabs((double)d) * (value - before);
        before = value;
        d += first ? s.up : -s.down;
        i += first;
        j += !first;
    }
    return sum;
}

template <typename T> struct range_t {
    T low, high;
};

template <typename T> INLINE range_t<T> range_of(const T *v, int64_t n, range_t<T> r)
{
    T low[8], high[8];
    for (int l = 0; l < 8; l++)
        low[l] = r.low, high[l] = r.high;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) {
            low[l] = v[i + l] < low[l] ? v[i + l] : low[l];
            high[l] = v[i + l] > high[l] ? v[i + l] : high[l];
        }
    for (; i < n; i++) {
        low[0] = v[i] < low[0] ? v[i] : low[0];
        high[0] = v[i] > high[0] ? v[i] : high[0];
    }
    for (int l = 1; l < 8; l++) {
        low[0] = low[l] < low[0] ? low[l] : low[0];
        high[0] = high[l] > high[0] ? high[l] : high[0];
    }
    return {low[0], high[0]};
}

/* The bucket of every value: rounding may move a value to the next one, but never past another value. */
template <typename T> INLINE void place(const T *v, int64_t n, T low, T scale, int last, uint16_t *places)
{
    for (int64_t i = 0; i < n; i++) {
        int32_t k = (int32_t)((v[i] - low) * scale);
        places[i] = (uint16_t)(k < last ? k : last);
    }
}

INLINE void count_up(const uint16_t *places, int64_t n, int32_t *counts, int32_t *more, int buckets)
{
    /* Two tables, since the same bucket twice in a row would have to wait for itself. */
    memset(more, 0, buckets * sizeof *more);
    int64_t i = 0;
    for (; i + 2 <= n; i += 2) {
        counts[places[i]]++;
        more[places[i + 1]]++;
    }
    for (; i < n; i++)
        counts[places[i]]++;
    for (int k = 0; k < buckets; k++)
        counts[k] += more[k];
}

/* The sum of the values of buckets in which D keeps its sign, with that sign; and those of all others, put aside. `which`
   has room for all. */
template <typename T>
INLINE double signed_sum(const T *v, const uint16_t *places, int64_t n, double low, const double *signs, int32_t *starts,
                         T *aside, int32_t *which)
{
    double sum[4] = {0};
    int64_t i = 0, doubtful = 0;
    for (; i + 4 <= n; i += 4)
        for (int l = 0; l < 4; l++)
            sum[l] += signs[places[i + l]] * ((double)v[i + l] - low);
    for (; i < n; i++)
        sum[0] += signs[places[i]] * ((double)v[i] - low);
    for (i = 0; i < n; i++) {
        which[doubtful] = (int32_t)i;
        doubtful += signs[places[i]] == 0;
    }
    for (i = 0; i < doubtful; i++)
        aside[starts[places[which[i]]]++] = v[which[i]];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The integral of |D| from the least value to the largest. `aside` has as much room as the values, which are overwritten;
   so have `places` and `which`. */
template <typename T, int BUCKETS>
static double integral(both_t<T> s, int64_t d, both_t<T> aside, uint16_t *places, int32_t *which)
{
    T start = s.n ? s.a[0] : s.b[0];
    range_t<T> r = range_of(s.b, s.m, range_of(s.a, s.n, range_t<T>{start, start}));
    if (!(r.low < r.high))
        return 0;
    T scale = BUCKETS / (r.high - r.low);
    if (!(scale > 0) || !(scale <= (sizeof(T) == 4 ? (T)1e38 : (T)1e300)))
        return sorted_all(s, d);
    int32_t of_a[BUCKETS] = {0}, of_b[BUCKETS] = {0}, from_a[BUCKETS], from_b[BUCKETS], doubtful[BUCKETS], doubts = 0;
    double signs[BUCKETS], before[BUCKETS], low = r.low, width = ((double)r.high - low) / BUCKETS, sum = 0;
    place(s.a, s.n, r.low, scale, BUCKETS - 1, places);
    place(s.b, s.m, r.low, scale, BUCKETS - 1, places + s.n);
    count_up(places, s.n, of_a, from_a, BUCKETS);
    count_up(places + s.n, s.m, of_b, from_b, BUCKETS);
    int64_t here = d;
    int32_t put_a = 0, put_b = 0, last = 0;
    for (int k = 0; k < BUCKETS; k++) {
        int64_t up = of_a[k] * s.up, down = of_b[k] * s.down;
        int sign = (here - down >= 0) - (here - down < 0 && here + up <= 0);
        if (sign != last) /* where it stays, what one bucket adds at their edge the next one takes away */
            sum += (last - sign) * (double)here * (k * width);
        if (!sign) {
            before[doubts] = (double)here;
            doubtful[doubts++] = k;
            from_a[k] = put_a;
            from_b[k] = put_b;
            put_a += of_a[k];
            put_b += of_b[k];
        }
        signs[k] = last = sign;
        here += up - down;
    }
    sum += last * (double)here * (BUCKETS * width);
    sum -= (double)s.up * signed_sum(s.a, places, s.n, low, signs, from_a, aside.a, which);
    sum += (double)s.down * signed_sum(s.b, places + s.n, s.m, low, signs, from_b, aside.b, which);
    for (int i = 0; i < doubts; i++) {
        int k = doubtful[i], first_a = from_a[k] - of_a[k], first_b = from_b[k] - of_b[k]; /* both were counted up */
        both_t<T> within = {aside.a + first_a, aside.b + first_b, of_a[k], of_b[k], s.up, s.down};
        if (within.n + within.m <= FEW / 2) {
            sum += sorted_few<FEW / 2>(within, before[i], low, k * width, (k + 1) * width);
            continue;
        }
        if (within.n + within.m <= FEW) {
            sum += sorted_few<FEW>(within, before[i], low, k * width, (k + 1) * width);
            continue;
        }
        T first = within.n ? within.a[0] : within.b[0];
        range_t<T> inner = range_of(within.b, within.m, range_of(within.a, within.n, range_t<T>{first, first}));
        double after = before[i] + (double)within.n * (double)s.up - (double)within.m * (double)s.down;
        sum += fabs(before[i]) * ((double)inner.low - low - k * width);
        sum += fabs(after) * ((k + 1) * width - ((double)inner.high - low));
        both_t<T> room = {s.a + first_a, s.b + first_b, 0, 0, 0, 0};
        sum += integral<T, FURTHER>(within, (int64_t)before[i], room, places, which);
    }
    return sum;
}

#if defined(__clang__) || __GNUC__ >= 12
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIXED(a, b, ...) __builtin_shuffle(a, b, (decltype(a > b)){__VA_ARGS__})
#endif

/* Four rows of four values, turned: row k of `to`, `pitch` values apart, is column k. */
template <typename T> INLINE void turn(const T *rows, int64_t units, T *to, int64_t pitch)
{
    typedef T four __attribute__((vector_size(4 * sizeof(T))));
    four r[4], pairs[4];
    for (int k = 0; k < 4; k++)
        memcpy(r + k, rows + k * units, sizeof r[k]);
    pairs[0] = MIXED(r[0], r[1], 0, 4, 1, 5);
    pairs[1] = MIXED(r[0], r[1], 2, 6, 3, 7);
    pairs[2] = MIXED(r[2], r[3], 0, 4, 1, 5);
    pairs[3] = MIXED(r[2], r[3], 2, 6, 3, 7);
    r[0] = MIXED(pairs[0], pairs[2], 0, 1, 4, 5);
    r[1] = MIXED(pairs[0], pairs[2], 2, 3, 6, 7);
    r[2] = MIXED(pairs[1], pairs[3], 0, 1, 4, 5);
    r[3] = MIXED(pairs[1], pairs[3], 2, 3, 6, 7);
    for (int k = 0; k < 4; k++)
        memcpy(to + k * pitch, r + k, sizeof r[k]);
}

/* Copies up to UNITS columns of rows [n, units], each to a stretch of its own. */
template <typename T> INLINE void columns_of(const T *rows, int64_t n, int64_t units, int here, T *columns)
{
    int64_t i = 0;
    if (here == UNITS)
        for (; i + 4 <= n; i += 4) {
            for (int k = 0; k < 4; k++)
                __builtin_prefetch(rows + (i + k + AHEAD) * units);
            for (int u = 0; u < UNITS; u += 4)
                turn(rows + i * units + u, units, columns + u * n + i, n);
        }
    for (; i < n; i++)
        for (int u = 0; u < here; u++)
            columns[u * n + i] = rows[i * units + u];
}

/* Closes up the finite ones of n values, and returns how many they are. */
template <typename T> INLINE int64_t finite_of(T *v, int64_t n)
{
    int all = 1;
    for (int64_t i = 0; i < n; i++)
        all &= v[i] - v[i] == 0;
    if (all)
        return n;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (v[i] - v[i] == 0)
            v[kept++] = v[i];
    return kept;
}

/* Mean and sum of squared deviations of n values, in two passes. */
template <typename T> INLINE void moments_of(const T *v, int64_t n, double *mean, double *squares)
{
    double low = n ? (double)v[0] : 0, sums[8] = {0}, rest[8] = {0}, square[8] = {0}, sum = 0, off = 0, all = 0;
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            sums[l] += (double)v[i + l] - low;
    for (; i < n; i++)
        sum += (double)v[i] - low;
    for (int l = 0; l < 8; l++)
        sum += sums[l];
    double centre = n ? low + sum / (double)n : NAN;
    for (i = 0; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) {
            double d = (double)v[i + l] - centre;
            rest[l] += d;
            square[l] += d * d;
        }
    for (; i < n; i++) {
        off += (double)v[i] - centre;
        all += ((double)v[i] - centre) * ((double)v[i] - centre);
    }
    for (int l = 0; l < 8; l++) {
        off += rest[l];
        all += square[l];
    }
    *mean = n ? centre + off / (double)n : NAN;
    *squares = n ? all - off * off / (double)n : NAN;
}

/* `found` [7, units] is W1, then the number, mean and squares of a, and those of b. */
template <typename T> INLINE int all_units(const T *a, int64_t n, const T *b, int64_t m, int64_t units, double *found)
{
    int wide = (n + m) * UNITS <= 1 << 20 ? UNITS : 4;
    T *columns = (T *)malloc((n + m) * (wide + 1) * sizeof(T) + (n + m) * (sizeof(uint16_t) + sizeof(int32_t)));
    if (!columns)
        return 0;
    T *second = columns + n * wide, *aside = second + m * wide;
    int32_t *which = (int32_t *)(aside + n + m);
    uint16_t *places = (uint16_t *)(which + n + m);
    for (int64_t u = 0; u < units; u += wide) {
        int some = units - u < wide ? (int)(units - u) : wide;
        columns_of(a + u, n, units, some, columns);
        columns_of(b + u, m, units, some, second);
        for (int i = 0; i < some; i++) {
            both_t<T> s = {columns + i * n, second + i * m, 0, 0, 0, 0};
            s.n = s.down = finite_of(s.a, n);
            s.m = s.up = finite_of(s.b, m);
            double *here = found + u + i;
            here[units] = (double)s.n;
            here[4 * units] = (double)s.m;
            moments_of(s.a, s.n, here + 2 * units, here + 3 * units);
            moments_of(s.b, s.m, here + 5 * units, here + 6 * units);
            both_t<T> room = {aside, aside + n, 0, 0, 0, 0};
            *here = s.n && s.m ? integral<T, FIRST>(s, 0, room, places, which) / ((double)s.n * (double)s.m) : NAN;
        }
    }
    free(columns);
    return 1;
}

extern "C" CLONES int w1_float(const float *a, int64_t n, const float *b, int64_t m, int64_t units, double *found)
{
    return all_units(a, n, b, m, units, found);
}

extern "C" CLONES int w1_double(const double *a, int64_t n, const double *b, int64_t m, int64_t units, double *found)
{
    return all_units(a, n, b, m, units, found);
}
