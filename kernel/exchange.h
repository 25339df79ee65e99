/* What every exchange of blocks shows of a few units (icshift/noise/drifts.py). A vector holds as many units at one slice. */
#pragma once
#include <stdlib.h>

#include "differ.h"

#define LEAST 1e-280 /* a sum of squares between these has lost nothing */
#define LARGEST 1e280

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

#define SIGNED 4 /* blocks whose signs together have 16 patterns, of which each sum is taken once */
#define GROUPS (MOST_BLOCKS / SIGNED)

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
template <int PARTS> INLINE void add_slice(const floats (*sums)[1 << SIGNED], const uint8_t *patterns, int64_t count, floats *drifts)
{
    for (int64_t p = 0; p < count; p++) {
        floats sum = sums[0][patterns[p * GROUPS]];
        for (int g = 1; g < PARTS; g++)
            sum += sums[g][patterns[p * GROUPS + g]];
        drifts[p] += magnitude(sum);
    }
}

/* Divides blocks [blocks] of which a vector holds `lanes` places by how much these vary; 0 where they do not. Where that is
   not plain, since squares leave the range of double, the values are looked at again: they lie `apart`. */
INLINE void by_spread(doubles *x, int blocks, int lanes, const double *at, int64_t apart)
{
    doubles squares = {0}, none = {0}, by = {0};
    longs any = {0};
    for (int k = 0; k < blocks; k++) {
        squares += x[k] * x[k];
        any |= x[k] != none;
    }
    longs usual = ((squares > LEAST) & (squares < LARGEST)) | ~any;
    int all_usual = 1;
    for (int l = 0; l < WIDTH; l++)
        all_usual &= (int)usual[l];
    if (all_usual) {
        for (int l = 0; l < WIDTH; l++)
            by[l] = sqrt(squares[l]);
        by = any ? 1 / by : none;
        for (int k = 0; k < blocks; k++)
            x[k] *= by;
        return;
    }
    for (int l = 0; l < WIDTH; l++)
        by[l] = l < lanes ? root_of_squares(at + l, blocks, apart) : 0;
    for (int k = 0; k < blocks; k++)
        x[k] = by > none ? x[k] / by : none;
}

/* The differences of a unit's blocks [blocks, slices], which lie `apart`, each slice measured by how much it varies. */
INLINE void measured(const double *at, int blocks, int slices, int64_t apart, float (*relative)[SLICES])
{
    doubles x[MOST_BLOCKS] = {{0}};
    for (int k = 0; k < blocks; k++) {
        if (slices == SLICES)
            memcpy(&x[k], at + k * apart, sizeof x[k]);
        else
            memcpy(&x[k], at + k * apart, slices * sizeof(double));
    }
    by_spread(x, blocks, slices, at, apart);
    for (int k = 0; k < blocks; k++) {
        floats row = __builtin_convertvector(x[k], floats);
        memcpy(relative[k], &row, sizeof row);
    }
}

/* What is added up over units, a vector of them at a time: of every exchange the sum and the largest. */
typedef struct {
    uint8_t *patterns; /* [count, GROUPS] places among the sums of a group's blocks */
    floats *drifts, *largest;
    doubles *total;
    int parts;
} running_t;

INLINE int begin(running_t *run, exchange_t how)
{
    run->parts = (how.blocks + SIGNED - 1) / SIGNED;
    run->patterns = (uint8_t *)calloc(how.count, GROUPS);
    run->drifts = (floats *)aligned_alloc(sizeof(floats), how.count * sizeof(floats));
    run->largest = (floats *)aligned_alloc(sizeof(floats), how.count * sizeof(floats));
    run->total = (doubles *)aligned_alloc(sizeof(doubles), how.count * sizeof(doubles));
    if (!run->patterns || !run->drifts || !run->largest || !run->total)
        return 0;
    memset(run->total, 0, how.count * sizeof(doubles));
    for (int64_t p = 0; p < how.count; p++) {
        for (int l = 0; l < WIDTH; l++)
            run->largest[p][l] = -INFINITY;
        for (int k = 0; k < how.blocks; k++)
            run->patterns[p * GROUPS + k / SIGNED] |= (how.weights[p * how.blocks + k] < 0) << k % SIGNED;
    }
    return 1;
}

INLINE void end(running_t *run, exchange_t how, exchanged_t out, int whole)
{
    for (int64_t p = 0; whole && p < how.count; p++) {
        out.total[p] = sum_of(run->total[p]);
        float more = -INFINITY;
        for (int l = 0; l < WIDTH; l++)
            more = run->largest[p][l] > more ? run->largest[p][l] : more;
        out.largest[p] = more;
    }
    free(run->patterns);
    free(run->drifts);
    free(run->largest);
    free(run->total);
}

/* Takes in `lanes` units from the one on, whose blocks relative to how much they vary are given. */
static CLONES void exchange_few(running_t *run, exchange_t how, float (*of_unit)[MOST_BLOCKS][SLICES], int64_t unit, int lanes,
                         int64_t units, exchanged_t out)
{
    floats *drifts = run->drifts;
    memset(drifts, 0, how.count * sizeof(floats));
    for (int s = 0; s < SLICES; s++) {
        floats relative[MOST_BLOCKS], sums[GROUPS][1 << SIGNED];
        for (int k = 0; k < how.blocks; k++)
            for (int l = 0; l < WIDTH; l++)
                relative[k][l] = of_unit[l][k][s];
        for (int g = 0; g < run->parts; g++)
            signed_sums(relative + g * SIGNED, how.blocks - g * SIGNED < SIGNED ? how.blocks - g * SIGNED : SIGNED, sums[g]);
        if (run->parts == 1)
            add_slice<1>(sums, run->patterns, how.count, drifts);
        else if (run->parts == 2)
            add_slice<2>(sums, run->patterns, how.count, drifts);
        else if (run->parts == 3)
            add_slice<3>(sums, run->patterns, how.count, drifts);
        else
            add_slice<4>(sums, run->patterns, how.count, drifts);
    }
    doubles squares = {0};
    floats most = {0}, by = {0};
    for (int64_t p = 0; p < how.count; p++) {
        most = drifts[p] > most ? drifts[p] : most;
        squares += wide(drifts[p]) * wide(drifts[p]);
    }
    int any = 0;
    for (int l = 0; l < WIDTH; l++) {
        int kept = l < lanes && out.kept[unit + l] && most[l] > 0 && squares[l] == squares[l];
        if (l < lanes)
            out.kept[unit + l] = (uint8_t)kept;
        by[l] = kept ? (float)sqrt(squares[l] / (double)how.count) : INFINITY;
        any |= kept;
    }
    for (int64_t p = 0; any && p < how.count; p++) {
        floats here = drifts[p] / by;
        run->total[p] += wide(here);
        run->largest[p] = here > run->largest[p] ? here : run->largest[p];
        if (p == 0 && out.shown)
            store(out.shown + unit, here, lanes);
        else if (p && p <= out.pool)
            store(out.pooled + (p - 1) * units + unit, here, lanes);
    }
}

/* Adds the products of every two blocks at a few places, each measured by how much it varies; they lie `apart`. */
INLINE void add_products(const double *at, int blocks, int64_t apart, int lanes, doubles (*sums)[MOST_BLOCKS])
{
    doubles x[MOST_BLOCKS] = {{0}};
    for (int k = 0; k < blocks; k++) {
        if (lanes == WIDTH)
            memcpy(&x[k], at + k * apart, sizeof x[k]);
        else
            memcpy(&x[k], at + k * apart, lanes * sizeof(double));
    }
    by_spread(x, blocks, lanes, at, apart);
    for (int j = 0; j < blocks; j++)
        for (int k = 0; k <= j; k++)
            sums[j][k] += x[j] * x[k];
}

INLINE void add_sums(doubles (*sums)[MOST_BLOCKS], int blocks, double *products)
{
    for (int j = 0; j < blocks; j++)
        for (int k = 0; k <= j; k++) {
            double sum = sum_of(sums[j][k]);
            products[j * blocks + k] += sum;
            if (k < j)
                products[k * blocks + j] += sum;
        }
}
