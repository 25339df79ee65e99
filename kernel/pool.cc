/* What several processes recorded as one, as icshift/runs/pooling.py has it: of the values of all, and of their blocks. */
#include <math.h>

#include "columns.h"
#include "kernel.h"

INLINE doubles next(const float *at)
{
    floats few;
    memcpy(&few, at, sizeof few);
    return __builtin_convertvector(few, doubles);
}

INLINE double total_of(doubles few)
{
    double sum = 0;
    for (int l = 0; l < WIDTH; l++)
        sum += few[l];
    return sum;
}

/* Means of equal slices of sorted points, none of which leaves the range of its slice by rounding, and the mean distance of the
   points from them. */
extern "C" CLONES void cut_even(const float *points, int64_t units, int64_t n, int64_t slices, float *means, double *error)
{
    int64_t each = n / slices;
    for (int64_t u = 0; u < units; u++) {
        double apart = 0;
        for (int64_t s = 0; s < slices; s++) {
            const float *p = points + u * n + s * each;
            doubles sum = {0}, away = {0};
            int64_t i;
            for (i = 0; i + WIDTH <= each; i += WIDTH)
                sum += next(p + i);
            double mean = total_of(sum);
            for (; i < each; i++)
                mean += p[i];
            mean /= (double)each;
            mean = mean < p[0] ? p[0] : mean;
            mean = mean > p[each - 1] ? p[each - 1] : mean;
            for (i = 0; i + WIDTH <= each; i += WIDTH) {
                doubles from = next(p + i) - mean;
                away += (doubles)((longs)from & INT64_MAX);
            }
            apart += total_of(away);
            for (; i < each; i++)
                apart += fabs(p[i] - mean);
            means[u * slices + s] = (float)mean;
        }
        error[u] = apart / (double)n;
    }
}

/* A block that has no value may have anything as its slices, which is not added. */
extern "C" CLONES void add_blocks(const float *slices, const int64_t *sampled, int64_t units, int64_t count, int each, double *sums)
{
    for (int64_t u = 0; u < units; u++) {
        const int64_t *of = sampled + (each ? u * count : 0);
        for (int64_t b = 0; b < count; b++) {
            int64_t at = (u * count + b) * SLICES;
            if (of[b] <= 0)
                continue;
            doubles sum;
            memcpy(&sum, sums + at, sizeof sum);
            sum += next(slices + at) * (double)of[b];
            memcpy(sums + at, &sum, sizeof sum);
        }
    }
}

INLINE int any_nan(const float *v)
{
    int found = 0;
    for (int i = 0; i < TAIL; i++)
        found |= v[i] != v[i];
    return found;
}

static void unknown(float *v)
{
    for (int i = 0; i < TAIL; i++)
        v[i] = NAN;
}

/* Most of the ends of one of many parts are further in than all that are kept: a glance tells. */
extern "C" void merge_ends(const float *other, int64_t units, float *ends)
{
    for (int64_t u = 0; u < units; u++, ends += 2 * TAIL, other += 2 * TAIL) {
        float *low = ends, *high = ends + TAIL;
        if (any_nan(low) || any_nan(other))
            unknown(low);
        else
            for (int i = 0; i < TAIL && other[i] < low[TAIL - 1]; i++) {
                int at = TAIL - 1;
                for (; at && low[at - 1] > other[i]; at--)
                    low[at] = low[at - 1];
                low[at] = other[i];
            }
        if (any_nan(high) || any_nan(other + TAIL))
            unknown(high);
        else
            for (int i = TAIL - 1; i >= 0 && other[TAIL + i] > high[0]; i--) {
                int at = 0;
                for (; at + 1 < TAIL && high[at + 1] < other[TAIL + i]; at++)
                    high[at] = high[at + 1];
                high[at] = other[TAIL + i];
            }
    }
}
