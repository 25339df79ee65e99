/* What a window keeps of the levels of its sketches: slices of the quantile function, by how far these are from the values,
   and the ends. Columns are sorted side by side; what follows goes unit by unit, where they differ. */
#include <math.h>
#include <stdlib.h>

#include "columns.h"
#include "kernel.h"

/* A value and the number of values that it stands for, as one whole number in the order of the values: the key in the
   upper half, the weight in the lower. So a choice between two of them is one of registers, and not a jump, which nobody
   could predict: half of all time would be lost by guessing wrong. */
typedef int64_t point_t;

INLINE point_t point_of(int32_t key, int32_t weight) { return (int64_t)((uint64_t)(uint32_t)key << 32 | (uint32_t)weight); }
INLINE int32_t weight_of(point_t p) { return (int32_t)p; }

INLINE float value_of(point_t p)
{
    int32_t key = (int32_t)(p >> 32), bits = key ^ ((key >> 31) & 0x7fffffff);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Sorts columns of levels of one weight, for up to WIDTH units: of each a row of `runs`, `pitch` points apart. */
INLINE void sort_levels(const level_t *levels, int count, int64_t units, int64_t unit, int lanes, point_t *runs, int pitch)
{
    keys v[MOST];
    int n = 0;
    for (int k = 0; k < count; k++)
        for (int i = 0; i < levels[k].fill; i++)
            v[n++] = turned(load(levels[k].values + i * units + unit, lanes));
    int power = padded(n) < 64 ? 64 : padded(n);
    for (int i = n; i < power; i++)
        v[i] = all(INT32_MAX);
    sort_runs(v, power, NULL, 0); /* what came from one step, or from one level, is in order */
    for (int i = 0; i < n; i++)
        for (int l = 0; l < lanes; l++)
            runs[l * pitch + i] = point_of(v[i][l], levels[0].weight);
}

/* Two sorted runs as one: from both ends at once, since where a choice waits for the one before, two that do not wait for
   each other take the time of one. Nothing is read beyond either run: of the lower half of all no run gives more than it
   has, but where it is shorter than that half. */
static void merge(const point_t *__restrict a, int n, const point_t *__restrict b, int m, point_t *__restrict into)
{
    const point_t *first_a = a, *first_b = b, *last_a = a + n - 1, *last_b = b + m - 1;
    point_t *front = into, *back = into + n + m - 1;
    int safe;
    while ((safe = (int)(last_a - first_a < last_b - first_b ? last_a - first_a : last_b - first_b) / 2) > 0)
        for (; safe; safe--) {
            point_t x = *first_a, y = *first_b, z = *last_a, w = *last_b;
            int lower = x <= y, upper = z > w;
            *front++ = lower ? x : y;
            first_a += lower;
            first_b += !lower;
            *back-- = upper ? z : w;
            last_a -= upper;
            last_b -= !upper;
        }
    while (first_a <= last_a && first_b <= last_b)
        *front++ = *first_a <= *first_b ? *first_a++ : *first_b++;
    if (first_a <= last_a)
        memcpy(front, first_a, sizeof *front * (size_t)(last_a - first_a + 1));
    if (first_b <= last_b)
        memcpy(front, first_b, sizeof *front * (size_t)(last_b - first_b + 1));
}

/* Means of equal slices of the points' quantile function, and the mean distance to them. Weights are counted in parts of a
   slice's, so that all of it is whole numbers. A slice ends within a point, of which the rest goes to the next: what it has
   of the points at its ends is apart from those between, which count whole and need no choice. */
static double slice_up(const point_t *p, int n, int64_t total, int slices, float *means)
{
    int first = 0;
    int64_t left = n ? (int64_t)weight_of(p[0]) * slices : 0; /* of the first point */
    double distance = 0, before = -INFINITY;
    for (int s = 0; s < slices; s++) {
        int last = first;
        int64_t have = left;
        while (have < total)
            have += (int64_t)weight_of(p[++last]) * slices;
        int64_t beyond = have - total, at_first = last > first ? left : total;
        int64_t at_last = last > first ? (int64_t)weight_of(p[last]) * slices - beyond : 0;
        double start = value_of(p[first]), end = value_of(p[last]), sum = 0, apart = 0;
        for (int i = first + 1; i < last; i++)
            sum += weight_of(p[i]) * (value_of(p[i]) - start);
        double mean = start + (sum * slices + (double)at_last * (end - start)) / (double)total;
        mean = mean > before ? mean : before;
        before = mean;
        means[s] = (float)mean;
        for (int i = first + 1; i < last; i++)
            apart += weight_of(p[i]) * fabs(value_of(p[i]) - mean);
        distance += apart * slices + (double)at_first * fabs(start - mean) + (double)at_last * fabs(end - mean);
        first = last;
        left = beyond;
        if (!left && first + 1 < n)
            left = (int64_t)weight_of(p[++first]) * slices;
    }
    return distance / (double)total / slices;
}

/* How many levels from the first on are of one weight and fit into one sort. */
static int alike(const level_t *levels, int count, int *points)
{
    int k = 0;
    *points = 0;
    while (k < count && levels[k].weight == levels[0].weight && *points + levels[k].fill <= MOST)
        *points += levels[k++].fill;
    return k;
}

extern "C" CLONES int digest(const level_t *levels, int count, int64_t units, digest_t out)
{
    int most = 0, runs = 0, *starts = (int *)malloc(sizeof(int) * (size_t)(count + 1));
    int64_t total = 0;
    for (int k = 0; k < count; k++) {
        most += levels[k].fill;
        total += (int64_t)levels[k].fill * levels[k].weight;
    }
    int pitch = most + 8; /* WIDTH runs, and two places for what is merged of them */
    point_t *memory = (point_t *)malloc(sizeof(point_t) * (size_t)(WIDTH + 2) * pitch);
    if (!memory || !starts) {
        free(memory);
        free(starts);
        return 0;
    }
    for (int64_t u = 0; u < units; u += WIDTH) {
        int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
        runs = starts[0] = 0;
        for (int k = 0, n, together; k < count; k += together, runs++, starts[runs] = starts[runs - 1] + n) {
            together = alike(levels + k, count - k, &n);
            sort_levels(levels + k, together, units, u, lanes, memory + starts[runs], pitch);
        }
        for (int l = 0; l < lanes; l++) {
            const point_t *singles = memory + l * pitch, *one = singles + starts[runs ? runs - 1 : 0];
            point_t *next = memory + WIDTH * pitch, *other = next + pitch;
            int merged = runs ? most - starts[runs - 1] : 0;
            /* The longest run last: what is merged of the others goes through fewer hands. */
            for (int k = runs - 2; k >= 0; k--) {
                int n = starts[k + 1] - starts[k];
                merge(one, merged, singles + starts[k], n, next);
                one = next;
                next = other;
                other = (point_t *)one;
                merged += n;
            }
            if (out.slices) {
                out.error[u + l] = slice_up(one, merged, total, out.slices, out.values + (u + l) * out.slices);
                float *ends = out.tails + (u + l) * 2 * TAIL;
                for (int i = 0; i < TAIL; i++) {
                    ends[i] = value_of(singles[i]);
                    ends[TAIL + i] = value_of(singles[starts[1] - TAIL + i]);
                }
            } else {
                for (int i = 0; i < merged; i++)
                    out.values[(u + l) * merged + i] = value_of(one[i]);
            }
        }
    }
    free(memory);
    free(starts);
    return 1;
}
