/* How blocks of two windows differ, and what every exchange of some of them shows (icshift/noise/exchange.py, drifts.py,
   dependence.py). A vector holds the slices of a unit, or as many units at one slice. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "kernel.h"

#define ROUNDING 1e-6f /* a difference of at most this share of the values is rounding */
#define LEAST 1e-280   /* a sum of squares between these has lost nothing */
#define LARGEST 1e280

INLINE doubles wide(floats v) { return __builtin_convertvector(v, doubles); }

INLINE double sum_of(doubles v) { return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7])); }

/* A unit's block of one window, of neighbouring ones from `from` to `to`: the means of their slices by their numbers of
   values, and these numbers. */
typedef struct {
    floats slices;
    int64_t sampled, zeros;
} block_t;

INLINE block_t joined(window_t w, int64_t unit, int from, int to)
{
    block_t found = {{0}, 0, 0};
    const float *slices = w.slices + unit * w.count * SLICES;
    const int64_t *sampled = w.sampled + unit * w.count, *zeros = w.zeros + unit * w.count;
    if (to - from == 1) {
        memcpy(&found.slices, slices + from * SLICES, sizeof found.slices);
        return {found.slices, sampled[from], zeros[from]};
    }
    doubles sum = {0};
    for (int k = from; k < to; k++) {
        floats here;
        memcpy(&here, slices + k * SLICES, sizeof here);
        if (sampled[k] > 0)
            sum += wide(here) * (double)sampled[k];
        found.sampled += sampled[k];
        found.zeros += zeros[k];
    }
    found.slices = __builtin_convertvector(sum / (double)found.sampled, floats);
    return found;
}

INLINE floats magnitude(floats v) { return (floats)((keys)v & 0x7fffffff); }

extern "C" CLONES void differ(window_t a, window_t b, int64_t units, int count, difference_t out)
{
    double weights[MOST_BLOCKS] = {0};
    for (int64_t u = 0; u < units; u++) {
        block_t first[MOST_BLOCKS], second[MOST_BLOCKS];
        int64_t of_a = 0, of_b = 0;
        floats most = {0};
        keys none = {0};
        int seen = 0;
        for (int k = 0; k < count; k++) {
            first[k] = joined(a, u, (int)a.starts[k], (int)a.starts[k + 1]);
            second[k] = joined(b, u, (int)b.starts[k], (int)b.starts[k + 1]);
            of_a += first[k].sampled;
            of_b += second[k].sampled;
            if (first[k].sampled <= 0 || second[k].sampled <= 0)
                continue;
            seen++;
            floats x = magnitude(first[k].slices), y = magnitude(second[k].slices);
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
        for (int k = 0; k < count; k++) {
            doubles apart = {0};
            double weight = 0, zeros = 0, mean = 0;
            if (first[k].sampled > 0 && second[k].sampled > 0) {
                double m = (double)first[k].sampled, n = (double)second[k].sampled;
                weight = (m / (double)of_a + n / (double)of_b) / 2;
                zeros = ((double)second[k].zeros / n - (double)first[k].zeros / m) * weight;
                if (!odd) {
                    doubles all_of_it = wide(second[k].slices - first[k].slices), least = {0};
                    least += (double)(ROUNDING * largest);
                    mean = sum_of(all_of_it) / SLICES;
                    mean = mean > least[0] || mean < -least[0] ? mean * weight : 0.0;
                    apart = (all_of_it > least) | (all_of_it < -least) ? all_of_it * weight : apart;
                }
            }
            memcpy(out.slices + (k * units + u) * SLICES, &apart, sizeof apart);
            out.means[k * units + u] = mean;
            out.zeros[k * units + u] = zeros;
            weights[k] += weight;
        }
        out.seen[u] = seen;
    }
    for (int k = 0; k < count; k++)
        out.weights[k] = weights[k] / (double)(units > 1 ? units : 1);
}

/* The root of a sum of squares of `count` values that lie `apart`, right also where squares leave the range of double. */
INLINE double root_of_squares(const double *x, int count, int64_t apart)
{
    double squares = 0, most = 0;
    for (int k = 0; k < count; k++)
        squares += x[k * apart] * x[k * apart];
    if (squares > LEAST && squares < LARGEST)
        return sqrt(squares);
    for (int k = 0; k < count; k++) {
        if (x[k * apart] != x[k * apart])
            return NAN;
        most = fabs(x[k * apart]) > most ? fabs(x[k * apart]) : most;
    }
    if (most == 0 || isinf(most))
        return most;
    squares = 0;
    for (int k = 0; k < count; k++)
        squares += (x[k * apart] / most) * (x[k * apart] / most);
    return most * sqrt(squares);
}

#define GROUP 4 /* blocks whose signs together have 16 patterns, of which each sum is taken once */
#define GROUPS (MOST_BLOCKS / GROUP)

/* Sums of up to 4 vectors under every pattern of signs: bit k of a place is set where the k-th changes its sign. */
INLINE void signed_sums(const floats *v, int count, floats *sums)
{
    sums[0] = v[0];
    for (int k = 1; k < count; k++)
        sums[0] += v[k];
    for (int pattern = 1; pattern < 1 << count; pattern++) {
        floats sum = pattern & 1 ? -v[0] : v[0];
        for (int k = 1; k < count; k++)
            sum = pattern >> k & 1 ? sum - v[k] : sum + v[k];
        sums[pattern] = sum;
    }
}

/* Adds to the drifts of WIDTH units under every pattern the absolute sum of their blocks at one slice. */
template <int PARTS> INLINE void add_slice(const floats (*sums)[1 << GROUP], const uint8_t *patterns, int64_t count, floats *drifts)
{
    for (int64_t p = 0; p < count; p++) {
        floats sum = sums[0][patterns[p * GROUPS]];
        for (int g = 1; g < PARTS; g++)
            sum += sums[g][patterns[p * GROUPS + g]];
        drifts[p] += magnitude(sum);
    }
}

/* The differences of a unit's blocks [blocks, slices], which lie `apart`, each slice measured by how much it varies. */
INLINE void measured(const double *x, int blocks, int slices, int64_t apart, float (*relative)[SLICES])
{
    doubles values[MOST_BLOCKS] = {{0}}, squares = {0}, by = {0}, none = {0};
    int usual = 1;
    for (int k = 0; k < blocks; k++) {
        if (slices == SLICES)
            memcpy(&values[k], x + k * apart, sizeof values[k]);
        else
            memcpy(&values[k], x + k * apart, slices * sizeof(double));
        squares += values[k] * values[k];
    }
    for (int s = 0; s < slices; s++)
        usual &= squares[s] > LEAST && squares[s] < LARGEST;
    for (int s = 0; s < slices; s++)
        by[s] = usual ? sqrt(squares[s]) : root_of_squares(x + s, blocks, apart);
    for (int k = 0; k < blocks; k++) {
        floats row = __builtin_convertvector(by > none ? values[k] / by : none, floats);
        memcpy(relative[k], &row, sizeof row);
    }
}

extern "C" CLONES int exchange_blocks(const double *apart, int64_t units, int slices, exchange_t how, exchanged_t out)
{
    int blocks = how.blocks, parts = (blocks + GROUP - 1) / GROUP;
    floats *drifts = (floats *)aligned_alloc(sizeof(floats), how.count * sizeof(floats));
    uint8_t *patterns = (uint8_t *)calloc(how.count, GROUPS);
    if (!drifts || !patterns) {
        free(drifts);
        free(patterns);
        return 0;
    }
    for (int64_t p = 0; p < how.count; p++) {
        out.total[p] = 0;
        out.largest[p] = -INFINITY;
        for (int k = 0; k < blocks; k++)
            patterns[p * GROUPS + k / GROUP] |= (how.weights[p * blocks + k] < 0) << k % GROUP;
    }
    for (int64_t u = 0; u < units; u += WIDTH) {
        int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
        float of_unit[WIDTH][MOST_BLOCKS][SLICES] = {{{0}}};
        for (int l = 0; l < lanes; l++)
            measured(apart + (u + l) * slices, blocks, slices, units * slices, of_unit[l]);
        memset(drifts, 0, how.count * sizeof(floats));
        for (int s = 0; s < slices; s++) {
            floats relative[MOST_BLOCKS], sums[GROUPS][1 << GROUP];
            for (int k = 0; k < blocks; k++)
                for (int l = 0; l < WIDTH; l++)
                    relative[k][l] = of_unit[l][k][s];
            for (int g = 0; g < parts; g++)
                signed_sums(relative + g * GROUP, blocks - g * GROUP < GROUP ? blocks - g * GROUP : GROUP, sums[g]);
            if (parts == 1)
                add_slice<1>(sums, patterns, how.count, drifts);
            else if (parts == 2)
                add_slice<2>(sums, patterns, how.count, drifts);
            else if (parts == 3)
                add_slice<3>(sums, patterns, how.count, drifts);
            else
                add_slice<4>(sums, patterns, how.count, drifts);
        }
        doubles squares = {0};
        floats most = {0}, by = {0};
        for (int64_t p = 0; p < how.count; p++) {
            most = drifts[p] > most ? drifts[p] : most;
            squares += wide(drifts[p]) * wide(drifts[p]);
        }
        int any = 0;
        for (int l = 0; l < lanes; l++) {
            int kept = out.kept[u + l] && most[l] > 0 && squares[l] == squares[l];
            out.kept[u + l] = (uint8_t)kept;
            by[l] = kept ? (float)sqrt(squares[l] / (double)how.count) : INFINITY;
            any |= kept;
        }
        for (int l = lanes; l < WIDTH; l++)
            by[l] = INFINITY;
        if (!any)
            continue;
        for (int64_t p = 0; p < how.count; p++) {
            floats here = drifts[p] / by;
            out.total[p] += sum_of(wide(here));
            float more = here[0];
            for (int l = 1; l < WIDTH; l++)
                more = here[l] > more ? here[l] : more;
            out.largest[p] = more > out.largest[p] ? more : out.largest[p];
            float *to = p ? out.pooled + (p - 1) * units : out.shown;
            if (p <= out.pool)
                store(to + u, here, lanes);
        }
    }
    free(drifts);
    free(patterns);
    return 1;
}

extern "C" CLONES void multiply_blocks(const double *apart, int blocks, int64_t places, double *products)
{
    doubles sums[MOST_BLOCKS][MOST_BLOCKS] = {{{0}}};
    for (int64_t i = 0; i < places; i += WIDTH) {
        int lanes = places - i < WIDTH ? (int)(places - i) : WIDTH;
        doubles x[MOST_BLOCKS] = {{0}}, squares = {0}, by = {0};
        for (int k = 0; k < blocks; k++) {
            memcpy(&x[k], apart + k * places + i, lanes * sizeof(double));
            squares += x[k] * x[k];
        }
        int usual = 1;
        for (int l = 0; l < lanes; l++)
            usual &= squares[l] > LEAST && squares[l] < LARGEST;
        for (int l = 0; l < WIDTH; l++)
            by[l] = l >= lanes ? INFINITY : usual ? sqrt(squares[l]) : root_of_squares(apart + i + l, blocks, places);
        doubles none = {0};
        for (int k = 0; k < blocks; k++)
            x[k] = by > none ? x[k] / by : none;
        for (int j = 0; j < blocks; j++)
            for (int k = 0; k <= j; k++)
                sums[j][k] += x[j] * x[k];
    }
    for (int j = 0; j < blocks; j++)
        for (int k = 0; k <= j; k++) {
            double sum = sum_of(sums[j][k]);
            products[j * blocks + k] += sum;
            if (k < j)
                products[k * blocks + j] += sum;
        }
}

extern "C" CLONES void distances(const double *apart, int64_t units, exchange_t how, double *found)
{
    for (int64_t u = 0; u < units; u++) {
        doubles x[MOST_BLOCKS];
        for (int k = 0; k < how.blocks; k++)
            memcpy(&x[k], apart + (k * units + u) * SLICES, sizeof x[k]);
        for (int64_t d = 0; d < how.count; d++) {
            doubles sum = {0};
            for (int k = 0; k < how.blocks; k++)
                sum += x[k] * how.weights[d * how.blocks + k];
            found[d * units + u] = sum_of(sum < 0 ? -sum : sum) / SLICES;
        }
    }
}
