/* A level of a sketch is made smaller: sorted, and one value of all neighbours goes up; by how far the others lie from it. */
#include <math.h>

#include "columns.h"
#include "kernel.h"

/* By how far n sorted values lie from those that go up: of four -x0 - x1 + x2 + x3, of three x2 - x0. */
INLINE void measure(const floats *x, int n, int group, int lanes, double rounding, double *moved)
{
    floats sum = {0};
    int end = TAIL + (n - 2 * TAIL) / group * group;
    if (group == 4)
        for (int i = TAIL; i < end; i += 4)
            sum += (x[i + 2] - x[i]) + (x[i + 3] - x[i + 1]);
    else
        for (int i = TAIL; i < end; i += 3)
            sum += x[i + 2] - x[i];
    for (int l = 0; l < lanes; l++) {
        double ends = fabsf(x[TAIL][l]) + fabsf(x[n - TAIL - 1][l]);
        moved[l] = x[n - 1][l] < INFINITY ? sum[l] + rounding * ends : NAN;
    }
}

/* Which of n sorted rows comes at place i of those that are left: first those that go up, then those that stay. */
INLINE int source(int i, int n, int group, int offset)
{
    int up = (n - 2 * TAIL) / group;
    if (i < up)
        return TAIL + offset + group * i;
    return i - up < TAIL ? i - up : i - up + up * group;
}

/* Two vectors of columns at a time are a line of the cache: where rows lie a power of two apart, a line would be gone
   before its second half is wanted. */
extern "C" CLONES void compact(float *level, int n, int64_t units, int group, int offset, double rounding, double *moved)
{
    keys v[2][MOST];
    int left = n - (n - 2 * TAIL) / group * (group - 1);
    for (int64_t u = 0; u < units; u += 2 * WIDTH) {
        int lanes[2];
        for (int half = 0; half < 2; half++) {
            int64_t rest = units - u - half * WIDTH;
            lanes[half] = rest < 0 ? 0 : rest < WIDTH ? (int)rest : WIDTH;
        }
        for (int i = 0; i < n; i++)
            for (int half = 0; half < 2 && lanes[half]; half++)
                v[half][i] = turned(load(level + i * units + u + half * WIDTH, lanes[half]));
        for (int half = 0; half < 2 && lanes[half]; half++) {
            sort_columns(v[half], n, padded(n));
            for (int i = 0; i < n; i++)
                v[half][i] = turned(v[half][i]);
            measure((const floats *)v[half], n, group, lanes[half], rounding, moved + u + half * WIDTH);
        }
        for (int i = 0; i < left; i++)
            for (int half = 0; half < 2 && lanes[half]; half++)
                store(level + i * units + u + half * WIDTH, v[half][source(i, n, group, offset)], lanes[half]);
    }
}
