/* Two functions of a unit laid over one another, as icshift/pieces.py has them: integrals of their difference, piece by
   piece, without writing the pieces down. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "kernel.h"
#include "levels.h"

#define TOGETHER 4 /* units that go along their pieces in turn: where the next piece ends waits for the one before */
#define LANES 8

/* A straight stretch of a function, up to `end`. */
typedef struct {
    double end, start, value, slope;
} stretch_t;

INLINE double least(double a, double b) { return a < b ? a : b; }

/* The stretches of a function that have a width, between one without at its first knot and one that goes on for ever. */
INLINE const stretch_t *stretches(const double *places, const double *values, int64_t knots, stretch_t *into)
{
    const double *x = places, *y = values;
    int64_t count = 1;
    into[0] = {x[0], x[0], y[0], 0};
    for (int64_t i = 0; i + 1 < knots; i++) { /* written always, kept where it counts: no branch to be guessed */
        into[count] = {x[i + 1], x[i], y[i], y[i + 1]};
        count += x[i + 1] > x[i];
    }
    for (int64_t i = 1; i < count; i++) {
        double slope = (into[i].slope - into[i].value) / (into[i].end - into[i].start);
        into[i].slope = fabs(slope) <= DBL_MAX ? slope : 0; /* so narrow that it is a step */
    }
    into[count] = {INFINITY, x[knots - 1], y[knots - 1], 0};
    return into + count;
}

/* A unit on its way: the stretches on which both functions are from `at` on, and the integral up to there. */
typedef struct {
    const stretch_t *a, *b, *last_a, *last_b;
    double at, shift, sum;
} way_t;

INLINE int under_way(const way_t *w) { return (w->a < w->last_a) | (w->b < w->last_b); }

/* Adds the next piece. The difference is straight in it: its square is that of the middle and what it changes by. */
INLINE void go_on(way_t *w)
{
    const stretch_t *a = w->a, *b = w->b;
    double end = least(a->end, b->end), width = end - w->at, middle = w->at + width / 2;
    double apart = (a->value + a->slope * (middle - a->start)) - (b->value + b->slope * (middle - b->start)) - w->shift;
    double change = (a->slope - b->slope) * width;
    w->sum += width * (apart * apart + change * change / 12);
    w->at = end;
    w->a += a->end <= end;
    w->b += b->end <= end;
}

/* Adds all pieces of up to TOGETHER units. */
INLINE void go_along(way_t *ways, int count)
{
    if (count == TOGETHER) {
        way_t w[TOGETHER];
        for (int l = 0; l < TOGETHER; l++)
            w[l] = ways[l];
        for (int all = 1; all;) {
            for (int l = 0; l < TOGETHER; l++)
                go_on(w + l);
            for (int l = 0; l < TOGETHER; l++)
                all &= under_way(w + l);
        }
        for (int l = 0; l < TOGETHER; l++)
            ways[l] = w[l];
    }
    for (int l = 0; l < count; l++)
        while (under_way(ways + l))
            go_on(ways + l);
}

/* Where a unit begins: its stretches are written to memory that has room for them. */
INLINE way_t beginning(lines_t a, lines_t b, const double *of_a, const double *of_b, int64_t unit, stretch_t *memory)
{
    const double *places_a = a.places + unit * a.knots, *places_b = b.places + unit * b.knots;
    stretch_t *second = memory + a.knots + 2;
    way_t w = {memory, second, NULL, NULL, least(places_a[0], places_b[0]), 0, 0};
    w.last_a = stretches(places_a, of_a, a.knots, memory);
    w.last_b = stretches(places_b, of_b, b.knots, second);
    return w;
}

extern "C" CLONES int squares(lines_t a, lines_t b, int64_t units, double *found)
{
    int64_t room = a.knots + b.knots + 4;
    stretch_t *memory = (stretch_t *)malloc(TOGETHER * room * sizeof(stretch_t));
    if (!memory)
        return 0;
    for (int64_t unit = 0; unit < units; unit += TOGETHER) {
        int count = units - unit < TOGETHER ? (int)(units - unit) : TOGETHER;
        way_t ways[TOGETHER];
        for (int l = 0; l < count; l++) {
            const double *of_a = a.values + (unit + l) * a.knots, *of_b = b.values + (unit + l) * b.knots;
            ways[l] = beginning(a, b, of_a, of_b, unit + l, memory + l * room);
        }
        go_along(ways, count);
        for (int l = 0; l < count; l++)
            found[unit + l] = ways[l].sum;
    }
    free(memory);
    return 1;
}

/* Mean and standard deviation of a function from 0 to 1; summed from its first value on, so that a constant is exact. */
INLINE void moments(const double *x, const double *y, int64_t knots, double *mean, double *deviation)
{
    double sums[LANES] = {0}, squared[LANES] = {0}, sum = 0, square = 0;
    int64_t last = knots - 1, i = 0;
    for (; i + LANES <= last; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += (x[i + l + 1] - x[i + l]) * ((y[i + l] + y[i + l + 1]) / 2 - y[0]);
    for (; i < last; i++)
        sum += (x[i + 1] - x[i]) * ((y[i] + y[i + 1]) / 2 - y[0]);
    for (int l = 0; l < LANES; l++)
        sum += sums[l];
    sum += y[0];
    for (i = 0; i + LANES <= last; i += LANES)
        for (int l = 0; l < LANES; l++) {
            double middle = (y[i + l] + y[i + l + 1]) / 2 - sum, change = y[i + l + 1] - y[i + l];
            squared[l] += (x[i + l + 1] - x[i + l]) * (middle * middle + change * change / 12);
        }
    for (; i < last; i++) {
        double middle = (y[i] + y[i + 1]) / 2 - sum, change = y[i + 1] - y[i];
        square += (x[i + 1] - x[i]) * (middle * middle + change * change / 12);
    }
    for (int l = 0; l < LANES; l++)
        square += squared[l];
    *mean = sum;
    *deviation = root(square);
}

/* Divides values by 2 to a power, in two steps, since the one factor may fit no number. */
INLINE void scaled(const double *values, int64_t knots, int64_t power, double *into)
{
    int half = (int)power / 2;
    double one = ldexp(1.0, -half), other = ldexp(1.0, half - (int)power);
    for (int64_t i = 0; i < knots; i++)
        into[i] = values[i] * one * other;
}

extern "C" CLONES int parts(lines_t a, lines_t b, int64_t units, const int64_t *power, double *found)
{
    int64_t room = a.knots + b.knots + 4;
    stretch_t *memory = (stretch_t *)malloc(TOGETHER * room * sizeof(stretch_t) + room * sizeof(double));
    if (!memory)
        return 0;
    double *of_a = (double *)(memory + TOGETHER * room), *of_b = of_a + a.knots;
    for (int64_t unit = 0; unit < units; unit += TOGETHER) {
        int count = units - unit < TOGETHER ? (int)(units - unit) : TOGETHER;
        way_t ways[TOGETHER];
        for (int l = 0; l < count; l++) {
            int64_t here = unit + l;
            double mean_a, mean_b, std_a, std_b;
            scaled(a.values + here * a.knots, a.knots, power[here], of_a);
            scaled(b.values + here * b.knots, b.knots, power[here], of_b);
            moments(a.places + here * a.knots, of_a, a.knots, &mean_a, &std_a);
            moments(b.places + here * b.knots, of_b, b.knots, &mean_b, &std_b);
            ways[l] = beginning(a, b, of_a, of_b, here, memory + l * room);
            ways[l].shift = mean_a - mean_b;
            found[here] = (mean_a - mean_b) * (mean_a - mean_b);
            found[units + here] = (std_a - std_b) * (std_a - std_b);
        }
        go_along(ways, count);
        for (int l = 0; l < count; l++) { /* below 0 only by rounding */
            double rest = ways[l].sum - found[units + unit + l];
            found[2 * units + unit + l] = rest > 0 ? rest : 0;
        }
    }
    free(memory);
    return 1;
}

/* A stretch within which neither row has an edge: the places of both, and its length. */
typedef struct {
    int64_t a, b;
    int64_t length;
} overlap_t;

/* The overlaps of rows of n and m values, in units of 1 / (n m), in which edges are whole numbers: equal ones are equal. */
INLINE int64_t overlaps(int64_t n, int64_t m, overlap_t *into)
{
    int64_t count = 0, at = 0;
    for (int64_t i = 0, j = 0; i < n && j < m; count++) {
        int64_t end_a = (i + 1) * m, end_b = (j + 1) * n, end = end_a < end_b ? end_a : end_b;
        into[count] = {i, j, end - at};
        at = end;
        i += end_a <= end;
        j += end_b <= end;
    }
    return count;
}

template <typename T> INLINE double equal_rows(const T *a, const T *b, int64_t n)
{
    double sums[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            sums[l] += fabs((double)a[i + l] - (double)b[i + l]);
    for (; i < n; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    for (int l = 0; l < LANES; l++)
        sum += sums[l];
    return sum;
}

template <typename T> INLINE double unequal_rows(const T *a, const T *b, const overlap_t *over, int64_t count)
{
    double sums[2] = {0};
    for (int64_t k = 0; k < count; k++)
        sums[k & 1] += fabs((double)a[over[k].a] - (double)b[over[k].b]) * (double)over[k].length;
    return sums[0] + sums[1];
}

/* Sums are of whole numbers of parts, so that rows of one value each are apart by exactly the distance of these. */
template <typename T> INLINE int all_rows(const T *a, int64_t n, const T *b, int64_t m, int64_t units, double *found)
{
    overlap_t *over = n == m ? NULL : (overlap_t *)malloc((n + m) * sizeof(overlap_t));
    if (n != m && !over)
        return 0;
    int64_t count = n == m ? n : overlaps(n, m, over);
    double all = n == m ? (double)n : (double)n * (double)m;
    for (int64_t unit = 0; unit < units; unit++)
        found[unit] = (over ? unequal_rows(a + unit * n, b + unit * m, over, count) : equal_rows(a + unit * n, b + unit * m, n)) / all;
    free(over);
    return 1;
}

extern "C" CLONES int apart_float(const float *a, int64_t n, const float *b, int64_t m, int64_t units, double *found)
{
    return all_rows(a, n, b, m, units, found);
}

extern "C" CLONES int apart_double(const double *a, int64_t n, const double *b, int64_t m, int64_t units, double *found)
{
    return all_rows(a, n, b, m, units, found);
}
