/* What a window keeps of the levels of its sketches: slices of the quantile function, by how far these are from the values,
   and the ends. Columns are sorted side by side; what follows goes unit by unit, where they differ. */
#include <math.h>
#include <stdlib.h>

#include "columns.h"
#include "kernel.h"

/* Sorted points of one unit, each with the number of values that it stands for. */
typedef struct {
    float *x;
    int32_t *weights;
    int n;
} points_t;

/* Sorts columns of levels of one weight, for up to WIDTH units: of each a row of `runs`, `pitch` values apart. */
INLINE void sort_levels(const level_t *levels, int count, int64_t units, int64_t unit, int lanes, float *runs, int pitch)
{
    keys v[MOST];
    int n = 0;
    for (int k = 0; k < count; k++)
        for (int i = 0; i < levels[k].fill; i++)
            v[n++] = turned(load(levels[k].values + i * units + unit, lanes));
    sort_columns(v, n, padded(n));
    for (int i = 0; i < n; i++) {
        v[i] = turned(v[i]);
        for (int l = 0; l < lanes; l++)
            runs[l * pitch + i] = ((const floats *)v)[i][l];
    }
}

/* Points and a run of values of one weight, merged. Without a branch on the values, which nobody could predict. */
static points_t merge_run(points_t a, const float *run, int32_t weight, int m, points_t into)
{
    int i = 0, j = 0, k = 0;
    while (i < a.n && j < m) {
        int first = a.x[i] <= run[j];
        into.x[k] = first ? a.x[i] : run[j];
        into.weights[k++] = first ? a.weights[i] : weight;
        i += first;
        j += !first;
    }
    for (; i < a.n; i++) {
        into.x[k] = a.x[i];
        into.weights[k++] = a.weights[i];
    }
    for (; j < m; j++) {
        into.x[k] = run[j];
        into.weights[k++] = weight;
    }
    into.n = k;
    return into;
}

/* Means of equal slices of the points' quantile function, and the mean distance to them. Weights are counted in parts of a
   slice's, so that all of it is whole numbers. */
static double slice_up(points_t p, int64_t total, int slices, float *means)
{
    int i = 0;
    int64_t left = p.n ? (int64_t)p.weights[0] * slices : 0;
    double distance = 0, last = -INFINITY;
    for (int s = 0; s < slices; s++) {
        int start = i;
        int64_t part = left, need = total;
        double sum = 0;
        for (;;) {
            int64_t taken = left < need ? left : need;
            sum += (double)taken * ((double)p.x[i] - p.x[start]);
            need -= taken;
            left -= taken;
            if (!left && i + 1 < p.n)
                left = (int64_t)p.weights[++i] * slices;
            if (!need)
                break;
        }
        double mean = p.x[start] + sum / (double)total;
        mean = mean > last ? mean : last;
        last = mean;
        means[s] = (float)mean;
        for (need = total; need;) { /* again, now that the mean is known */
            int64_t taken = part < need ? part : need;
            distance += (double)taken * fabs(p.x[start] - mean);
            need -= taken;
            if (need)
                part = (int64_t)p.weights[++start] * slices;
        }
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
    int most = 0, first_points;
    int64_t total = 0;
    for (int k = 0; k < count; k++) {
        most += levels[k].fill;
        total += (int64_t)levels[k].fill * levels[k].weight;
    }
    alike(levels, count, &first_points);
    float *memory = (float *)malloc(sizeof(float) * (size_t)(WIDTH + 4) * (most + 16));
    if (!memory)
        return 0;
    float *at = memory + WIDTH * most;
    for (int64_t u = 0; u < units; u += WIDTH) {
        int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
        for (int k = 0, begun = 0, n, together; k < count; k += together, begun += n) {
            together = alike(levels + k, count - k, &n);
            sort_levels(levels + k, together, units, u, lanes, memory + begun, most);
        }
        for (int l = 0; l < lanes; l++) {
            const float *run = memory + l * most;
            points_t one = {at, (int32_t *)(at + most), 0}, other = {at + 2 * most, (int32_t *)(at + 3 * most), 0};
            for (int k = 0, n, together; k < count; k += together, run += n) {
                together = alike(levels + k, count - k, &n);
                points_t merged = merge_run(one, run, levels[k].weight, n, other);
                other = one;
                one = merged;
            }
            if (out.slices) {
                out.error[u + l] = slice_up(one, total, out.slices, out.values + (u + l) * out.slices);
                const float *singles = memory + l * most;
                float *ends = out.tails + (u + l) * 2 * TAIL;
                memcpy(ends, singles, TAIL * sizeof *ends);
                memcpy(ends + TAIL, singles + first_points - TAIL, TAIL * sizeof *ends);
            } else {
                memcpy(out.values + (u + l) * one.n, one.x, one.n * sizeof(float));
            }
        }
    }
    free(memory);
    return 1;
}
