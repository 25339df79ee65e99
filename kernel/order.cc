/* What a block of steps shows: every step's values sorted, and all that is read off them while they are at hand. */
#include <math.h>

#include "columns.h"
#include "kernel.h"

#define SQUARES_FIT 1e-15f /* from here to its inverse, values can be squared and added up in float */

#define AHEAD 24 /* columns: the line after the one that is written to */

typedef struct {
    const double *probabilities;
    int n, low[QUANTILES], high[QUANTILES];
    float part[QUANTILES];
} ranks_t;

/* Between which of n sorted values a quantile lies, by NumPy's linear rule. */
INLINE ranks_t ranks_of(int n, const double *probabilities)
{
    ranks_t p;
    p.probabilities = probabilities;
    p.n = n;
    for (int k = 0; k < QUANTILES; k++) {
        double position = probabilities[k] * (n - 1);
        p.low[k] = (int)position;
        p.high[k] = p.low[k] + 1 < n ? p.low[k] + 1 : n - 1;
        p.part[k] = (float)(position - p.low[k]);
    }
    return p;
}

/* Sum of rows, in float over up to eight of them and in double beyond. */
INLINE doubles sum_of(const floats *v, int n)
{
    doubles sum = {0};
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        floats a = (v[i] + v[i + 1]) + (v[i + 2] + v[i + 3]), b = (v[i + 4] + v[i + 5]) + (v[i + 6] + v[i + 7]);
        sum += __builtin_convertvector(a + b, doubles);
    }
    if (i < n) {
        floats a = v[i];
        for (i++; i < n; i++)
            a += v[i];
        sum += __builtin_convertvector(a, doubles);
    }
    return sum;
}

/* The sum of slice s of n sorted rows, times SLICES: a row that an edge cuts gives to either side its share. */
INLINE doubles slice_sum(const floats *v, int n, int s)
{
    int from = s * n, to = from + n, first = (from + SLICES - 1) / SLICES, end = to / SLICES;
    if (first > end) /* within one row */
        return __builtin_convertvector(v[end], doubles) * (double)n;
    doubles sum = sum_of(v + first, end - first) * (double)SLICES;
    if (first * SLICES > from)
        sum += __builtin_convertvector(v[first - 1], doubles) * (double)(first * SLICES - from);
    if (to > end * SLICES)
        sum += __builtin_convertvector(v[end], doubles) * (double)(to - end * SLICES);
    return sum;
}

/* Where the statistics of one step and unit are written: every array at this unit; its rows lie so far apart. */
typedef struct {
    double *table;
    int64_t *zeros;
    float *quantiles;
    int64_t stride;
    double *slices;
    int64_t slices_stride;
} out_t;

/* One column in double, of values of which only the first are finite or whose squares leave the range of float. */
static void measure_carefully(const floats *v, const ranks_t *all, int lane, out_t o)
{
    int n = all->n, finite = 0;
    double sum = 0, rest = 0, squares = 0;
    while (finite < n && v[finite][lane] < INFINITY)
        sum += v[finite++][lane];
    double mean = finite ? sum / finite : 0;
    for (int i = 0; i < finite; i++) {
        double d = v[i][lane] - mean;
        rest += d;
        squares += d * d;
    }
    o.table[0] = finite;
    o.table[o.stride] = n - finite;
    o.table[2 * o.stride] = finite ? mean + rest / finite : 0;
    o.table[3 * o.stride] = finite ? root(squares - rest * rest / finite) : 0;
    o.table[4 * o.stride] = finite ? v[0][lane] : INFINITY;
    o.table[5 * o.stride] = finite ? v[finite - 1][lane] : -INFINITY;
    ranks_t p = ranks_of(finite, all->probabilities);
    for (int k = 0; k < QUANTILES; k++)
        o.quantiles[k * o.stride] =
            finite ? v[p.low[k]][lane] + (v[p.high[k]][lane] - v[p.low[k]][lane]) * p.part[k] : NAN;
    for (int s = 0; s < SLICES; s++) {
        double slice = 0;
        for (int i = s * finite / SLICES, from = s * finite, to = from + finite; finite && i * SLICES < to; i++) {
            int left = i * SLICES > from ? i * SLICES : from, right = (i + 1) * SLICES < to ? (i + 1) * SLICES : to;
            slice += (double)v[i][lane] * (right - left);
        }
        o.slices[s * o.slices_stride] = finite ? slice / finite : 0;
    }
}

/* Up to WIDTH units of one step, from sorted rows. */
INLINE void measure(const floats *v, const ranks_t *p, keys zeros, int lanes, out_t o)
{
    int n = p->n;
    doubles sum = {0};
    for (int s = 0; s < SLICES; s++) {
        doubles slice = slice_sum(v, n, s);
        sum += slice;
        slice /= (double)n;
        store(o.slices + s * o.slices_stride, slice, lanes);
    }
    doubles mean = sum / (double)SLICES / (double)n;
    floats centre = __builtin_convertvector(mean, floats);
    doubles rest = {0}, squares = {0};
    for (int i = 0; i < n;) {
        floats some = {0}, some_squares = {0};
        for (int end = i + 8 < n ? i + 8 : n; i < end; i++) {
            floats d = v[i] - centre;
            some += d;
            some_squares += d * d;
        }
        rest += __builtin_convertvector(some, doubles);
        squares += __builtin_convertvector(some_squares, doubles);
    }
    for (int k = 0; k < QUANTILES; k++)
        store(o.quantiles + k * o.stride, v[p->low[k]] + (v[p->high[k]] - v[p->low[k]]) * p->part[k], lanes);
    floats low = v[0], high = v[n - 1], largest = -low > high ? -low : high;
    doubles steady = __builtin_convertvector(low < high ? (floats){0} : 1.0f - (floats){0}, doubles);
    doubles average = __builtin_convertvector(centre, doubles) + rest / (double)n;
    doubles deviation = steady != 0 ? (doubles){0} : squares - rest * rest / (double)n;
    for (int l = 0; l < WIDTH; l++)
        deviation[l] = root(deviation[l]);
    store(o.table, (double)n - (doubles){0}, lanes);
    store(o.table + o.stride, (doubles){0}, lanes);
    store(o.table + 2 * o.stride, steady != 0 ? __builtin_convertvector(low, doubles) : average, lanes);
    store(o.table + 3 * o.stride, deviation, lanes);
    store(o.table + 4 * o.stride, __builtin_convertvector(low, doubles), lanes);
    store(o.table + 5 * o.stride, __builtin_convertvector(high, doubles), lanes);
    store(o.zeros, __builtin_convertvector(zeros, longs), lanes);
    for (int l = 0; l < lanes; l++)
        if (!(largest[l] < 1 / SQUARES_FIT) || (low[l] < high[l] && high[l] - low[l] < SQUARES_FIT)) {
            out_t here = {o.table + l, o.zeros + l, o.quantiles + l, o.stride, o.slices + l, o.slices_stride};
            measure_carefully(v, p, l, here);
        }
}

/* The slices of one step, its values and its zeros, added to those of the steps before; of its lanes from the first on. */
INLINE void add_slices(out_t o, int first, int lanes, double *sums, int64_t stride, int64_t *sampled, int64_t *none)
{
    for (int s = 0; s < SLICES; s++)
        for (int l = first; l < lanes; l++)
            sums[s * stride + l] += o.slices[s * o.slices_stride + l] * o.table[l];
    for (int l = first; l < lanes; l++) {
        sampled[l] += (int64_t)o.table[l];
        none[l] += o.zeros[l];
    }
}

/* Rows of up to WIDTH units of one step: counted, and sorted with what is not finite as infinity at the end; the first
   `room` of them go to `to`, the others to where they were. */
INLINE keys sort_step(float *rows, int n, int64_t units, int lanes, keys *v, float *to, int room)
{
    keys zeros = {0}, broken = {0};
    for (int i = 0; i < n; i++) {
        keys bits = load(rows + i * units, lanes);
        __builtin_prefetch(to + i * units + AHEAD, 1); /* where the next columns go may be in no cache */
        zeros -= (bits & 0x7fffffff) == 0;
        broken |= (bits & INFINITE) == INFINITE;
        v[i] = turned(bits);
    }
    int any = 0;
    for (int l = 0; l < WIDTH; l++)
        any |= broken[l];
    if (any)
        for (int i = 0; i < n; i++)
            v[i] = (turned(v[i]) & INFINITE) == INFINITE ? all(INFINITE) : v[i];
    sort_columns(v, n, padded(n));
    for (int i = 0; i < n; i++) {
        v[i] = turned(v[i]);
        store((i < room ? to : rows) + i * units, v[i], lanes);
    }
    return zeros;
}

extern "C" CLONES void order(float *rows, int64_t steps, int n, int64_t units, order_t out)
{
    keys v[MOST];
    ranks_t places = ranks_of(n, out.probabilities);
    for (int64_t s = 0; s < steps; s++) {
        int turn = (int)(s % out.turns), whole = out.room[turn] >= (s / out.turns + 1) * n;
        int64_t own = s / out.turns * n;
        int room = whole ? n : (int)(out.room[turn] - own);
        for (int64_t next = 0; next < units; next += WIDTH) {
            /* The last columns once more with some that are done: that they are sorted changes nothing, and rows of
               fewer lanes take longer. Not where a part of them is in another place by now. */
            int64_t u = whole && next + WIDTH > units && units >= WIDTH ? units - WIDTH : next;
            int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
            int64_t first = s * n * units + u;
            keys zeros = sort_step(rows + first, n, units, lanes, v, out.values[turn] + own * units + u, room);
            double means[SLICES * WIDTH];
            out_t o = {out.table + s * 6 * units + u, out.zeros + s * units + u, out.quantiles + s * QUANTILES * units + u,
                       units, out.slices ? out.slices + s * SLICES * units + u : means, out.slices ? units : WIDTH};
            measure((const floats *)v, &places, zeros, lanes, o);
            if (!out.sums)
                continue;
            int64_t block = (out.taken + s) / out.length * units + u;
            double *sums = out.sums + (block - u) * SLICES + u;
            if (u == next && lanes == WIDTH)
                add_slices(o, 0, WIDTH, sums, units, out.sampled + block, out.none + block);
            else
                add_slices(o, (int)(next - u), lanes, sums, units, out.sampled + block, out.none + block);
        }
    }
}
