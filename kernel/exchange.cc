/* How blocks of two windows differ, and what every exchange of some of them shows (icshift/noise/exchange.py, drifts.py,
   dependence.py). */
#include "exchange.h"

extern "C" CLONES void differ(window_t a, window_t b, int64_t units, int blocks, const rounding_t *rounding, difference_t out)
{
    double weights[MOST_BLOCKS] = {0};
    both_t both = {};
    both.rounding = rounding;
    for (int64_t u = 0; u < units; u++) {
        if (u == 0 || a.each || b.each)
            both_of(a, b, u, blocks, &both);
        doubles slices[MOST_BLOCKS];
        out.coarse[u] = (uint8_t)differ_of(a, b, u, blocks, &both, slices, 1, out.means + u, units);
        for (int k = 0; k < blocks; k++) {
            memcpy(out.slices + (k * units + u) * SLICES, &slices[k], sizeof slices[k]);
            out.zeros[k * units + u] = both.zeros[k];
            weights[k] += both.weight[k];
        }
        out.seen[u] = both.seen;
    }
    for (int k = 0; k < blocks; k++)
        out.weights[k] = weights[k] / (double)(units > 1 ? units : 1);
}

extern "C" CLONES int exchange_blocks(const double *apart, int64_t units, int slices, exchange_t how, exchanged_t out)
{
    running_t run;
    int there = begin(&run, how);
    for (int64_t u = 0; there && u < units; u += WIDTH) {
        int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
        float of_unit[WIDTH][MOST_BLOCKS][SLICES] = {{{0}}};
        for (int l = 0; l < lanes; l++)
            measured(apart + (u + l) * slices, how.blocks, slices, units * slices, of_unit[l]);
        exchange_few(&run, how, of_unit, u, lanes, units, out);
    }
    end(&run, how, out, there);
    return there;
}

extern "C" CLONES int compare(window_t a, window_t b, int64_t units, const rounding_t *rounding, exchange_t how,
                              exchanged_t out, compared_t found)
{
    running_t run;
    both_t both = {}, fine = {};
    both.rounding = fine.rounding = rounding;
    doubles sums[MOST_BLOCKS][MOST_BLOCKS] = {{{0}}};
    window_t fine_a = a, fine_b = b;
    fine_a.starts = found.starts_a;
    fine_b.starts = found.starts_b;
    int there = begin(&run, how), shared = !a.each && !b.each;
    for (int64_t u = 0; there && u < units; u += WIDTH) {
        int lanes = units - u < WIDTH ? (int)(units - u) : WIDTH;
        float of_unit[WIDTH][MOST_BLOCKS][SLICES] = {{{0}}};
        for (int l = 0; l < lanes; l++) {
            doubles slices[MOST_BLOCKS];
            if (u + l == 0 || !shared)
                both_of(a, b, u + l, how.blocks, &both);
            int coarse = differ_of(a, b, u + l, how.blocks, &both, slices, 1, NULL, 0);
            found.coarse[u + l] = (uint8_t)coarse;
            found.seen[u + l] = both.seen;
            out.kept[u + l] = both.seen >= found.fewest && !coarse;
            measured((const double *)slices, how.blocks, SLICES, SLICES, of_unit[l]);
            if (found.blocks == 0)
                continue;
            if (found.blocks != how.blocks) {
                if (u + l == 0 || !shared)
                    both_of(fine_a, fine_b, u + l, found.blocks, &fine);
                differ_of(fine_a, fine_b, u + l, found.blocks, &fine, slices, 1, NULL, 0);
            }
            add_products((const double *)slices, found.blocks, SLICES, WIDTH, sums);
        }
        exchange_few(&run, how, of_unit, u, lanes, units, out);
    }
    if (there && found.blocks)
        add_sums(sums, found.blocks, found.products);
    end(&run, how, out, there);
    return there;
}

extern "C" CLONES void multiply_blocks(const double *apart, int blocks, int64_t places, double *products)
{
    doubles sums[MOST_BLOCKS][MOST_BLOCKS] = {{{0}}};
    for (int64_t i = 0; i < places; i += WIDTH)
        add_products(apart + i, blocks, places, places - i < WIDTH ? (int)(places - i) : WIDTH, sums);
    add_sums(sums, blocks, products);
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
