/* What the noise of a dump of rows is computed from: slice means of its consecutive blocks (icshift/blocks.py). */
#include "columns.h"
#include "kernel.h"

/* Slice means of n sorted finite values of one lane, times n, added `stride` apart. A value that an edge cuts gives to
   either side its share. */
INLINE void add_slices(const floats *v, int n, int lane, double *to, int64_t stride)
{
    for (int s = 0; s < SLICES; s++) {
        int from = s * n, end = from + n;
        double sum = 0;
        for (int i = from / SLICES; i * SLICES < end; i++) {
            int left = i * SLICES > from ? i * SLICES : from, right = (i + 1) * SLICES < end ? (i + 1) * SLICES : end;
            sum += (double)v[i][lane] * (right - left);
        }
        to[s * stride] += sum;
    }
}

/* The same for all lanes, of a number of values that SLICES divides. */
INLINE void add_even(const floats *v, int n, int lanes, double *to, int64_t stride)
{
    int each = n / SLICES;
    for (int s = 0; s < SLICES; s++) {
        doubles sum = {0};
        for (int i = 0; i < each; i++)
            sum += __builtin_convertvector(v[s * each + i], doubles);
        for (int l = 0; l < lanes; l++)
            to[s * stride + l] += sum[l] * SLICES;
    }
}

INLINE void add_step(const float *rows, int n, int64_t units, int lanes, double *slices, int64_t *finite, int64_t *zeros)
{
    keys v[MOST], none = {0}, broken = {0};
    for (int i = 0; i < n; i++) {
        keys bits = load(rows + i * units, lanes);
        keys odd = (bits & INFINITE) == INFINITE;
        none -= (bits & 0x7fffffff) == 0;
        broken -= odd;
        v[i] = odd ? all(INFINITE) : turned(bits);
    }
    sort_columns(v, n, padded(n));
    for (int i = 0; i < n; i++)
        v[i] = turned(v[i]);
    int clean = n % SLICES == 0;
    for (int l = 0; l < lanes; l++) {
        finite[l] += n - broken[l];
        zeros[l] += none[l];
        clean &= broken[l] == 0;
    }
    if (clean)
        add_even((const floats *)v, n, lanes, slices, units);
    else
        for (int l = 0; l < lanes; l++)
            add_slices((const floats *)v, n - broken[l], l, slices + l, units);
}

extern "C" CLONES void blocks_of(const float *rows, int64_t n, int64_t units, int step, blocks_t blocks)
{
    int64_t steps = (n + step - 1) / step;
    for (int64_t s = 0; s < steps; s++) {
        int64_t first = s * step, block = s * blocks.count / steps, at = block * units;
        int here = n - first < step ? (int)(n - first) : step;
        for (int64_t u = 0; u < units; u += WIDTH)
            add_step(rows + first * units + u, here, units, units - u < WIDTH ? (int)(units - u) : WIDTH,
                     blocks.slices + at * SLICES + u, blocks.finite + at + u, blocks.zeros + at + u);
    }
}
