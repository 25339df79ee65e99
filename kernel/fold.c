/* What several steps showed as one: moments of all of them, and sums over those of a block (icshift/blocks.py). */
#include <math.h>

#include "kernel.h"
#include "levels.h"

/* Chan, Golub & LeVeque (1979). What comes from float cannot leave the range of double, squared and added up. */
CLONES void total(const double *restrict table, int64_t groups, int64_t units, double *restrict out)
{
    int64_t all = groups * units;
    double *count = out, *broken = out + units, *mean = out + 2 * units, *squares = out + 3 * units;
    double *low = out + 4 * units, *high = out + 5 * units;
    for (int64_t u = 0; u < units; u++) {
        count[u] = broken[u] = mean[u] = squares[u] = 0;
        low[u] = INFINITY;
        high[u] = -INFINITY;
    }
    for (const double *at = table; at < table + all; at += units)
        for (int64_t u = 0; u < units; u++) {
            count[u] += at[u];
            broken[u] += at[all + u];
            mean[u] += at[u] * at[2 * all + u];
            low[u] = at[4 * all + u] < low[u] ? at[4 * all + u] : low[u];
            high[u] = at[5 * all + u] > high[u] ? at[5 * all + u] : high[u];
        }
    for (int64_t u = 0; u < units; u++)
        mean[u] /= count[u] > 1 ? count[u] : 1;
    for (const double *at = table; at < table + all; at += units)
        for (int64_t u = 0; u < units; u++) {
            double away = at[2 * all + u] - mean[u];
            squares[u] += at[3 * all + u] * at[3 * all + u] + at[u] * away * away;
        }
    for (int64_t u = 0; u < units; u++)
        squares[u] = sqrt(squares[u]);
}

CLONES void add_steps(steps_t steps, const int64_t *places, int64_t units, double *sums, int64_t *sampled, int64_t *zeros)
{
    for (int64_t s = 0; s < steps.count; s++) {
        const int64_t *seen = steps.sampled + s * units, *none = steps.zeros + s * units;
        int64_t *to_seen = sampled + places[s] * units, *to_none = zeros + places[s] * units;
        for (int64_t u = 0; u < units; u++) {
            to_seen[u] += seen[u];
            to_none[u] += none[u];
        }
        for (int k = 0; k < SLICES; k++) {
            const double *slice = steps.slices + (s * SLICES + k) * units;
            double *to = sums + (places[s] * SLICES + k) * units;
            for (int64_t u = 0; u < units; u++)
                to[u] += slice[u] * (double)seen[u];
        }
    }
}
