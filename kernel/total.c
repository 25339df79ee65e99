/* Moments of several groups joined to those of all (Chan, Golub & LeVeque 1979), as of icshift/sketch/moments.py. */
#include "kernel.h"
#include "levels.h"

CLONES void total(moments_t of, int64_t units, double *restrict found)
{
    double *count = found, *none = found + units, *mean = none + units, *squares = mean + units, *low = squares + units,
           *high = low + units;
    for (int64_t u = 0; u < units; u++) {
        count[u] = none[u] = mean[u] = squares[u] = 0;
        low[u] = INFINITY;
        high[u] = -INFINITY;
    }
    for (int64_t g = 0; g < of.groups; g++) {
        const double *x = of.table + g * of.group, *deviation = x + 3 * of.column;
        for (int64_t u = 0; u < units; u++) {
            count[u] += x[u];
            none[u] += x[of.column + u];
            mean[u] += x[u] * x[2 * of.column + u];
            squares[u] += deviation[u] * deviation[u];
            double least = x[4 * of.column + u], most = x[5 * of.column + u];
            low[u] = least < low[u] ? least : low[u];
            high[u] = most > high[u] ? most : high[u];
        }
    }
    for (int64_t u = 0; u < units; u++)
        mean[u] /= count[u] > 1 ? count[u] : 1;
    for (int64_t g = 0; g < of.groups; g++) {
        const double *x = of.table + g * of.group;
        for (int64_t u = 0; u < units; u++) {
            double away = x[2 * of.column + u] - mean[u];
            squares[u] += x[u] * away * away;
        }
    }
    for (int64_t u = 0; u < units; u++)
        squares[u] = root(squares[u]);
}
