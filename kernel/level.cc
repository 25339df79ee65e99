/* A full level of a sketch: sorted, in place of which a quarter goes up, and by how far it lies from that. */
#include <math.h>

#include "columns.h"
#include "kernel.h"

/* By how far sorted values lie from anything between the middle two of four neighbours: -x0 - x1 + x2 + x3. */
INLINE void measure(const floats *x, int lanes, double rounding, double *moved)
{
    floats sum = {0};
    for (int i = TAIL; i < LEVEL - TAIL; i += GROUP)
        sum += (x[i + 2] - x[i]) + (x[i + 3] - x[i + 1]);
    for (int l = 0; l < lanes; l++) {
        double ends = fabsf(x[TAIL][l]) + fabsf(x[LEVEL - TAIL - 1][l]);
        moved[l] = x[LEVEL - TAIL - 1][l] < INFINITY ? sum[l] + rounding * ends : NAN;
    }
}

/* What goes up in place of four neighbours: their mean, but no further out than the middle two. A fourth of each is added,
   which is exact and never overflows. */
INLINE floats middle(const floats *x)
{
    floats part = 1.0f / GROUP - (floats){0}, mean = x[0] * part + x[1] * part + x[2] * part + x[3] * part;
    mean = mean < x[1] ? x[1] : mean;
    return mean > x[2] ? x[2] : mean;
}

/* Two vectors of columns at a time are a line of the cache: where rows lie a power of two apart, a line would be gone
   before its second half is wanted. What does not go up and is no end is not written back: nobody reads it again. */
extern "C" CLONES void compact(float *level, int64_t units, double rounding, double *moved, float *up)
{
    keys v[2][LEVEL];
    for (int64_t u = 0; u < units; u += 2 * WIDTH) {
        int lanes[2];
        for (int half = 0; half < 2; half++) {
            int64_t left = units - u - half * WIDTH;
            lanes[half] = left < 0 ? 0 : left < WIDTH ? (int)left : WIDTH;
        }
        /* Lanes that no unit has may hold what is in the row behind: they are sorted and not stored. */
        for (int i = 0; i < LEVEL; i++)
            for (int half = 0; half < 2 && lanes[half]; half++) {
                int whole = i + 1 < LEVEL && units >= WIDTH ? WIDTH : lanes[half];
                v[half][i] = turned(load(level + i * units + u + half * WIDTH, whole));
            }
        for (int half = 0; half < 2 && lanes[half]; half++) {
            const float *next = level + u + 2 * WIDTH;
            sort_runs(v[half], LEVEL, half || u + 2 * WIDTH >= units ? NULL : next, units);
            for (int i = 0; i < LEVEL; i++)
                v[half][i] = turned(v[half][i]);
            measure((const floats *)v[half], lanes[half], rounding, moved + u + half * WIDTH);
        }
        for (int i = 0; i < 2 * TAIL; i++)
            for (int half = 0; half < 2 && lanes[half]; half++)
                store(level + i * units + u + half * WIDTH, v[half][i < TAIL ? i : LEVEL - 2 * TAIL + i], lanes[half]);
        for (int i = 0; i < GOING_UP; i++)
            for (int half = 0; half < 2 && lanes[half]; half++)
                store(up + i * units + u + half * WIDTH, middle((const floats *)v[half] + TAIL + i * GROUP), lanes[half]);
    }
}
