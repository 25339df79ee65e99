/* Two functions of a unit laid over one another, as icshift/pieces.py has them: integrals of their difference, piece by
   piece, without writing the pieces down. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "levels.h"

#define TOGETHER 2 /* units that go along their pieces in turn: where the next piece ends waits for the one before */
#define LANES 8

typedef double lanes_t __attribute__((vector_size(LANES * sizeof(double))));

#if defined(__clang__) || __GNUC__ >= 12
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIXED(a, b, ...) __builtin_shuffle(a, b, (decltype(a > b)){__VA_ARGS__})
#endif

INLINE double least(double a, double b) { return a < b ? a : b; }

INLINE lanes_t load(const double *from)
{
    lanes_t v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* Straight stretches of a function: where each ends and begins, what the function is there, and how it rises. Before the
   first is one without a width, after the last one that goes on for ever. */
typedef struct {
    double *end, *start, *value, *slope;
    int64_t count; /* up to the one that goes on for ever */
} stretches_t;

#define AROUND 2 /* stretches more than those of a function */
#define ROOM(knots) (4 * ((knots) + AROUND))

INLINE stretches_t stretches_in(double *memory, int64_t count)
{
    int64_t room = count + AROUND;
    return {memory, memory + room, memory + 2 * room, memory + 3 * room, count + 1};
}

/* Puts the first and the last around `count` others. */
INLINE void enclose(stretches_t s, double first, double before, double last, double after)
{
    s.end[0] = s.start[0] = first;
    s.value[0] = before;
    s.end[s.count] = INFINITY;
    s.start[s.count] = last;
    s.value[s.count] = after;
    s.slope[0] = s.slope[s.count] = 0;
}

/* Those between all knots that lie apart. */
INLINE stretches_t between_all(const double *x, const double *y, int64_t knots, double *memory)
{
    stretches_t s = stretches_in(memory, knots - 1);
    int64_t last = 1;
    for (int64_t i = 1; i < knots; i++) { /* written always, kept where it counts: no branch to be guessed */
        s.end[last] = x[i];
        s.start[last] = x[i - 1];
        s.value[last] = y[i - 1];
        s.slope[last] = y[i];
        last += x[i] > x[i - 1];
    }
    for (int64_t i = 1; i < last; i++) {
        double slope = (s.slope[i] - s.value[i]) / (s.end[i] - s.start[i]);
        s.slope[i] = fabs(slope) <= DBL_MAX ? slope : 0; /* so narrow that it is a step */
    }
    s.count = last;
    enclose(s, x[0], y[0], x[knots - 1], y[knots - 1]);
    return s;
}

/* Those of pairs of knots, of values times a factor, and meanwhile mean and standard deviation of the function. Both are
   summed from its middle value on, from which the mean is no further than the deviation: nothing is lost by it, and of a
   constant the mean is exact. */
INLINE stretches_t between_pairs(const double *x, const double *y, int64_t knots, double factor, double *memory,
                                 double *mean, double *deviation)
{
    int64_t count = knots / 2, i = 0;
    stretches_t s = stretches_in(memory, count);
    double centre = y[count] * factor, sum = 0, square = 0;
    lanes_t sums = {0}, squared = {0};
    for (; i + LANES <= count; i += LANES) {
        lanes_t x0 = load(x + 2 * i), x1 = load(x + 2 * i + LANES), y0 = load(y + 2 * i), y1 = load(y + 2 * i + LANES);
        lanes_t start = MIXED(x0, x1, 0, 2, 4, 6, 8, 10, 12, 14), end = MIXED(x0, x1, 1, 3, 5, 7, 9, 11, 13, 15);
        lanes_t from = MIXED(y0, y1, 0, 2, 4, 6, 8, 10, 12, 14) * factor;
        lanes_t to = MIXED(y0, y1, 1, 3, 5, 7, 9, 11, 13, 15) * factor;
        lanes_t width = end - start, change = to - from, middle = (from + to) / 2 - centre, slope = change / width;
        sums += width * middle;
        squared += width * (middle * middle + change * change / 12);
        slope = width > 0 ? slope : (lanes_t){0};
        memcpy(s.end + 1 + i, &end, sizeof end);
        memcpy(s.start + 1 + i, &start, sizeof start);
        memcpy(s.value + 1 + i, &from, sizeof from);
        memcpy(s.slope + 1 + i, &slope, sizeof slope);
    }
    for (; i < count; i++) {
        double width = x[2 * i + 1] - x[2 * i], from = y[2 * i] * factor, change = y[2 * i + 1] * factor - from;
        double middle = from + change / 2 - centre;
        sum += width * middle;
        square += width * (middle * middle + change * change / 12);
        s.end[1 + i] = x[2 * i + 1];
        s.start[1 + i] = x[2 * i];
        s.value[1 + i] = from;
        s.slope[1 + i] = width > 0 ? change / width : 0;
    }
    for (int l = 0; l < LANES; l++) {
        sum += sums[l];
        square += squared[l];
    }
    enclose(s, x[0], y[0] * factor, x[knots - 1], y[knots - 1] * factor);
    *mean = centre + sum;
    *deviation = root(square - sum * sum);
    return s;
}

/* A unit on its way: the stretches on which both functions are from `at` on, and the integral up to there. */
typedef struct {
    stretches_t a, b;
    int64_t i, j;
    double at, shift, sum;
} way_t;

INLINE way_t beginning(stretches_t a, stretches_t b, double shift)
{
    return {a, b, 0, 0, least(a.start[0], b.start[0]), shift, 0};
}

INLINE int under_way(const way_t *w) { return (w->i < w->a.count) | (w->j < w->b.count); }

/* Adds the next piece. The difference is straight in it: its square is that of the middle and what it changes by. */
INLINE void go_on(way_t *w)
{
    int64_t i = w->i, j = w->j;
    double end_a = w->a.end[i], end_b = w->b.end[j], end = least(end_a, end_b);
    double width = end - w->at, middle = w->at + width / 2;
    double one = w->a.value[i] + w->a.slope[i] * (middle - w->a.start[i]);
    double other = w->b.value[j] + w->b.slope[j] * (middle - w->b.start[j]);
    double apart = one - other - w->shift, change = (w->a.slope[i] - w->b.slope[j]) * width;
    w->sum += width * (apart * apart + change * change / 12);
    w->at = end;
    w->i += end_a <= end;
    w->j += end_b <= end;
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

extern "C" CLONES int squares(lines_t a, lines_t b, int64_t units, double *found)
{
    int64_t room = ROOM(a.knots) + ROOM(b.knots);
    double *memory = (double *)malloc(TOGETHER * room * sizeof(double));
    if (!memory)
        return 0;
    for (int64_t unit = 0; unit < units; unit += TOGETHER) {
        int count = units - unit < TOGETHER ? (int)(units - unit) : TOGETHER;
        way_t ways[TOGETHER];
        for (int l = 0; l < count; l++) {
            int64_t of_a = (unit + l) * a.knots, of_b = (unit + l) * b.knots;
            double *here = memory + l * room;
            stretches_t one = between_all(a.places + of_a, a.values + of_a, a.knots, here);
            stretches_t other = between_all(b.places + of_b, b.values + of_b, b.knots, here + ROOM(a.knots));
            ways[l] = beginning(one, other, 0);
        }
        go_along(ways, count);
        for (int l = 0; l < count; l++)
            found[unit + l] = ways[l].sum;
    }
    free(memory);
    return 1;
}

extern "C" CLONES int parts(lines_t a, lines_t b, int64_t units, const int64_t *power, double *found)
{
    int64_t room = ROOM(a.knots / 2) + ROOM(b.knots / 2);
    double *memory = (double *)malloc(TOGETHER * room * sizeof(double));
    if (!memory)
        return 0;
    for (int64_t unit = 0; unit < units; unit += TOGETHER) {
        int count = units - unit < TOGETHER ? (int)(units - unit) : TOGETHER;
        way_t ways[TOGETHER];
        for (int l = 0; l < count; l++) {
            int64_t of_a = (unit + l) * a.knots, of_b = (unit + l) * b.knots;
            double *here = memory + l * room, factor = ldexp(1.0, -(int)power[unit + l]);
            double mean_a, mean_b, std_a, std_b;
            stretches_t one = between_pairs(a.places + of_a, a.values + of_a, a.knots, factor, here, &mean_a, &std_a);
            here += ROOM(a.knots / 2);
            stretches_t other = between_pairs(b.places + of_b, b.values + of_b, b.knots, factor, here, &mean_b, &std_b);
            ways[l] = beginning(one, other, mean_a - mean_b);
            found[unit + l] = (mean_a - mean_b) * (mean_a - mean_b);
            found[units + unit + l] = (std_a - std_b) * (std_a - std_b);
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
