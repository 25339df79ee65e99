/* A full level of a sketch, sorted, and by how far its values lie from those that go up. */
#include <math.h>

#include "columns.h"
#include "kernel.h"

extern "C" CLONES void sort_level(float *level, int64_t units, double rounding, double *moved)
{
    keys v[LEVEL];
    for (int64_t u = 0; u < units; u += WIDTH) {
        int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
        for (int i = 0; i < LEVEL; i++)
            v[i] = turned(load(level + i * units + u, lanes));
        sort_columns(v, LEVEL, LEVEL);
        for (int i = 0; i < LEVEL; i++) {
            v[i] = turned(v[i]);
            store(level + i * units + u, v[i], lanes);
        }
        const floats *x = (const floats *)v;
        /* Of four neighbours the distances to the second, or the third, add up to -x0 - x1 + x2 + x3. */
        floats sum = {0};
        for (int i = TAIL; i < LEVEL - TAIL; i += 4)
            sum += (x[i + 2] - x[i]) + (x[i + 3] - x[i + 1]);
        for (int l = 0; l < lanes; l++) {
            double ends = fabsf(x[TAIL][l]) + fabsf(x[LEVEL - TAIL - 1][l]);
            moved[u + l] = x[LEVEL - 1][l] < INFINITY ? sum[l] + rounding * ends : NAN;
        }
    }
}
