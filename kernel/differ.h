/* How a unit's blocks of one window differ from those of another (icshift/noise/exchange.py). A vector holds its slices. */
#pragma once
#include <math.h>
#include <string.h>

#include "columns.h"
#include "kernel.h"

INLINE doubles wide(floats v) { return __builtin_convertvector(v, doubles); }

INLINE double sum_of(doubles v) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

INLINE floats magnitude(floats v) { return (floats)((keys)v & 0x7fffffff); }

/* What the numbers of values say of a unit: by how much each block counts in the one that it is joined to, and of each of
   these how many values and zeros it has. */
typedef struct {
    double part[MOST_BLOCKS], sampled[MOST_BLOCKS], zeros[MOST_BLOCKS], all;
} shares_t;

INLINE void shares_of(window_t w, int64_t unit, int count, shares_t *found)
{
    const int64_t *sampled = w.sampled + unit * w.each, *zeros = w.zeros + unit * w.each;
    found->all = 0;
    for (int k = 0; k < count; k++) {
        int64_t values = 0, none = 0;
        for (int64_t i = w.starts[k]; i < w.starts[k + 1]; i++) {
            values += sampled[i];
            none += zeros[i];
        }
        for (int64_t i = w.starts[k]; i < w.starts[k + 1]; i++)
            found->part[i] = values > 0 && sampled[i] > 0 ? (double)sampled[i] / (double)values : 0;
        found->sampled[k] = (double)values;
        found->zeros[k] = (double)none;
        found->all += (double)values;
    }
}

/* Both windows' shares, and what comes of them for each block: in how many a unit was `seen` in both, its `weight`, the
   difference of its zeros. */
typedef struct {
    shares_t a, b;
    double weight[MOST_BLOCKS], zeros[MOST_BLOCKS], root;
    int seen;
    const rounding_t *rounding;
} both_t;

INLINE void both_of(window_t a, window_t b, int64_t unit, int count, both_t *both)
{
    shares_of(a, unit, count, &both->a);
    shares_of(b, unit, count, &both->b);
    both->seen = 0;
    double most = 1;
    for (int k = 0; k < count; k++) {
        double m = both->a.sampled[k], n = both->b.sampled[k];
        int seen = m > 0 && n > 0;
        most = m > most ? m : most;
        most = n > most ? n : most;
        both->seen += seen;
        both->weight[k] = seen ? (m / both->a.all + n / both->b.all) / 2 : 0;
        both->zeros[k] = seen ? (both->b.zeros[k] / n - both->a.zeros[k] / m) * both->weight[k] : 0;
    }
    both->root = sqrt(most);
}

/* The least and the largest that a unit shows in any block, of every slice; infinite where it was not seen. */
typedef struct {
    floats low, high;
} ends_t;

/* The slices of a unit's joined blocks, NaN of one without values, and what its blocks show in all. */
INLINE ends_t join(window_t w, const shares_t *shares, int64_t unit, int count, floats *joined)
{
    const float *slices = w.slices + unit * w.count * SLICES;
    floats none = {0}, low = none + INFINITY, high = -low;
    for (int k = 0; k < count && count == w.count; k++) { /* nothing to join */
        floats here;
        memcpy(&here, slices + k * SLICES, sizeof here);
        low = here < low ? here : low;
        high = here > high ? here : high;
        joined[k] = here;
    }
    for (int k = 0; k < count && count < w.count; k++) {
        doubles sum = {0};
        floats here = {0};
        for (int64_t i = w.starts[k]; i < w.starts[k + 1]; i++) {
            memcpy(&here, slices + i * SLICES, sizeof here);
            low = here < low ? here : low;
            high = here > high ? here : high;
            if (shares->part[i] > 0)
                sum += wide(here) * shares->part[i];
        }
        joined[k] = w.starts[k + 1] - w.starts[k] == 1 ? here
                    : shares->sampled[k] > 0           ? __builtin_convertvector(sum, floats)
                                                       : none / none;
    }
    return {low, high};
}

INLINE double larger(double x, double y) { return y > x || x != x ? y : x; }

/* Whether a unit's differences are lost in the rounding of what blocks keep: see `Differences`. */
INLINE int is_coarse(ends_t a, ends_t b, const both_t *both, const floats *first, const floats *second, int count)
{
    double low_a = a.low[0], low_b = b.low[0], high_a = a.high[SLICES - 1], high_b = b.high[SLICES - 1];
    double largest = larger(larger(fabs(low_a), fabs(low_b)), larger(fabs(high_a), fabs(high_b)));
    double spread = larger(high_a - low_a, high_b - low_b);
    const rounding_t *rounding = both->rounding;
    if (!(spread <= rounding->told * rounding->share * largest * both->root))
        return 0;
    int differ = 0, lost = 0;
    for (int k = 0; k < count; k++)
        for (int s = 0; s < SLICES; s++) {
            double apart = fabs((double)second[k][s] - (double)first[k][s]);
            differ += apart > 0;
            lost += apart > 0 && apart <= rounding->share * largest;
        }
    return lost > rounding->lost * differ;
}

/* Writes the differences of a unit's slices, a block `apart` vectors after the other, and where there is room those of its
   means, so many numbers after one another; returns whether it is coarse, and differs nowhere then. */
INLINE int differ_of(window_t a, window_t b, int64_t unit, int count, const both_t *both, doubles *slices, int64_t apart,
                     double *means, int64_t stride)
{
    floats first[MOST_BLOCKS], second[MOST_BLOCKS], most = {0};
    keys none = {0};
    ends_t of_a = join(a, &both->a, unit, count, first), of_b = join(b, &both->b, unit, count, second);
    for (int k = 0; k < count; k++) {
        if (both->weight[k] == 0)
            continue;
        floats x = magnitude(first[k]), y = magnitude(second[k]);
        x = (y > x) | (x != x) ? y : x;
        none |= x != x;
        most = x > most ? x : most;
    }
    float largest = 0;
    int odd = 0;
    for (int s = 0; s < SLICES; s++) {
        odd |= none[s];
        largest = most[s] > largest ? most[s] : largest;
    }
    int coarse = is_coarse(of_a, of_b, both, first, second, count);
    doubles least = {0};
    least += (double)((float)both->rounding->share * largest);
    for (int k = 0; k < count; k++) {
        doubles found = {0};
        double mean = 0;
        if (both->weight[k] != 0 && !odd && !coarse) {
            doubles all_of_it = wide(second[k] - first[k]);
            found = (all_of_it > least) | (all_of_it < -least) ? all_of_it * both->weight[k] : found;
            if (means) {
                mean = sum_of(all_of_it) / SLICES;
                mean = mean > least[0] || mean < -least[0] ? mean * both->weight[k] : 0.0;
            }
        }
        memcpy(slices + k * apart, &found, sizeof found);
        if (means)
            means[k * stride] = mean;
    }
    return coarse;
}
