/* One pass over a tensor for all moments, and the sampled rows drawn from what was just read.

   Sums are of deviations from a guess at the mean (that of the step before; else the first value), so that a mean far
   from zero costs no digits. Where the guess was far off, or a value is not finite, or squares leave the range of float,
   the unit is read again: seldom, and then carefully. */
#include <math.h>
#include <string.h>

#include "kernel.h"
#include "levels.h"

#define LANES 16 /* units, or positions of one unit, that are worked on together: one cache line */
#define ROWS 32  /* additions in float before double takes over */

#define OFF_CENTRE 64.0    /* squares of the distance to the guess, in variances, that cost too many digits */
#define SQUARES_FIT 1e-15f /* from here to its inverse, values can be squared and added up in float */

/* Sums about a centre [units], and extremes. */
typedef struct {
    double *sum, *squares, *low, *high;
} sums_t;

/* Some rows of up to LANES units. The number of lanes is a constant wherever this is drawn in with one. */
INLINE void add_rows(const float *restrict x, int64_t rows, int64_t stride, int lanes, const float *restrict centre,
        sums_t to)
{
    float sum[LANES], squares[LANES], low[LANES], high[LANES], c[LANES];
    for (int l = 0; l < LANES; l++) {
        sum[l] = squares[l] = 0;
        low[l] = INFINITY;
        high[l] = -INFINITY;
        c[l] = l < lanes ? centre[l] : 0;
    }
    for (int64_t r = 0; r < rows; r++, x += stride)
        for (int l = 0; l < lanes; l++) {
            float v = x[l], d = v - c[l];
            sum[l] += d;
            squares[l] += d * d;
            low[l] = v < low[l] ? v : low[l];
            high[l] = v > high[l] ? v : high[l];
        }
    for (int l = 0; l < lanes; l++) {
        to.sum[l] += sum[l];
        to.squares[l] += squares[l];
        to.low[l] = low[l] < to.low[l] ? low[l] : to.low[l];
        to.high[l] = high[l] > to.high[l] ? high[l] : to.high[l];
    }
}

CLONES static void add_columns(const float *x, int64_t rows, int64_t units, int64_t stride, const float *centre, sums_t to)
{
    for (int64_t r = 0; r < rows; r += ROWS, x += ROWS * stride) {
        int64_t n = rows - r < ROWS ? rows - r : ROWS, u = 0;
        for (; u + LANES <= units; u += LANES) {
            sums_t here = {to.sum + u, to.squares + u, to.low + u, to.high + u};
            add_rows(x + u, n, stride, LANES, centre + u, here);
        }
        if (u < units) {
            sums_t here = {to.sum + u, to.squares + u, to.low + u, to.high + u};
            add_rows(x + u, n, stride, (int)(units - u), centre + u, here);
        }
    }
}

/* Values of one unit that are added up together, at most, by the additions of a lane: two sets of lanes are in use, since
   an addition waits for the one before. */
#define PIECE (2 * LANES * ROWS)

/* How many rows are worked on together: as many as leave a lane ROWS additions. Lanes are added up once for all of them,
   which for few positions would cost more than what is added. */
static int64_t rows_together(int64_t positions)
{
    int64_t additions = (positions + 2 * LANES - 1) / (2 * LANES);
    return additions < ROWS ? ROWS / additions : 1;
}

/* Fewer positions than lanes, of one unit in some rows. */
INLINE void add_few(const float *x, int64_t rows, int64_t stride, int64_t positions, float c, sums_t to)
{
    double sum = 0, squares = 0;
    float low = x[0], high = x[0];
    for (int64_t r = 0; r < rows; r++, x += stride)
        for (int64_t i = 0; i < positions; i++) {
            float v = x[i], d = v - c;
            sum += d;
            squares += d * d;
            low = v < low ? v : low;
            high = v > high ? v : high;
        }
    *to.sum += sum;
    *to.squares += squares;
    *to.low = low < *to.low ? low : *to.low;
    *to.high = high > *to.high ? high : *to.high;
}

/* At least LANES positions of one unit in some rows: lanes are neighbours, added up at the end. */
INLINE void add_positions(const float *restrict x, int64_t rows, int64_t stride, int64_t positions, float c, sums_t to)
{
    static const float edge[2 * LANES] = {[LANES] = 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    float sum[2][LANES] = {{0}}, squares[2][LANES] = {{0}}, low[LANES], high[LANES];
    for (int l = 0; l < LANES; l++) {
        low[l] = INFINITY;
        high[l] = -INFINITY;
    }
    for (int64_t r = 0; r < rows; r++, x += stride) {
        int64_t i = 0;
        for (; i + 2 * LANES <= positions; i += 2 * LANES)
            for (int h = 0; h < 2; h++)
                for (int l = 0; l < LANES; l++) {
                    float v = x[i + h * LANES + l], d = v - c;
                    sum[h][l] += d;
                    squares[h][l] += d * d;
                    low[l] = v < low[l] ? v : low[l];
                    high[l] = v > high[l] ? v : high[l];
                }
        if (i + LANES <= positions) {
            for (int l = 0; l < LANES; l++) {
                float v = x[i + l], d = v - c;
                sum[0][l] += d;
                squares[0][l] += d * d;
                low[l] = v < low[l] ? v : low[l];
                high[l] = v > high[l] ? v : high[l];
            }
            i += LANES;
        }
        if (i < positions) { /* the last lanes again, of which those that were added already weigh nothing */
            const float *last = x + positions - LANES, *weight = edge + (positions - i);
            for (int l = 0; l < LANES; l++) {
                float v = last[l], d = (v - c) * weight[l];
                sum[1][l] += d;
                squares[1][l] += d * d;
                low[l] = v < low[l] ? v : low[l];
                high[l] = v > high[l] ? v : high[l];
            }
        }
    }
    for (int l = 0; l < LANES; l++) {
        sum[0][l] += sum[1][l];
        squares[0][l] += squares[1][l];
    }
    for (int half = LANES / 2; half; half /= 2)
        for (int l = 0; l < half; l++) {
            sum[0][l] += sum[0][l + half];
            squares[0][l] += squares[0][l + half];
            low[l] = low[l + half] < low[l] ? low[l + half] : low[l];
            high[l] = high[l + half] > high[l] ? high[l + half] : high[l];
        }
    *to.sum += sum[0][0];
    *to.squares += squares[0][0];
    *to.low = low[0] < *to.low ? low[0] : *to.low;
    *to.high = high[0] > *to.high ? high[0] : *to.high;
}

/* Some rows of units with several positions. */
CLONES static void add_units(activations_t a, const float *x, int64_t rows, const float *centre, sums_t to)
{
    for (int64_t u = 0; u < a.units; u++) {
        sums_t here = {to.sum + u, to.squares + u, to.low + u, to.high + u};
        for (int64_t i = 0; i < a.positions; i += PIECE) {
            int64_t n = a.positions - i < PIECE ? a.positions - i : PIECE;
            if (n < LANES)
                add_few(x + u * a.positions + i, rows, a.stride, n, centre[u], here);
            else
                add_positions(x + u * a.positions + i, rows, a.stride, n, centre[u], here);
        }
    }
}

static void add(activations_t a, int64_t first, int64_t rows, const float *centre, sums_t to)
{
    const float *x = a.values + first * a.stride;
    if (a.positions == 1) {
        add_columns(x, rows, a.units, a.stride, centre, to);
        return;
    }
    int64_t together = rows_together(a.positions);
    for (int64_t r = 0; r < rows; r += together)
        add_units(a, x + r * a.stride, rows - r < together ? rows - r : together, centre, to);
}

/* Rows of sampled places, from the `first` on. */
static void draw(activations_t a, sample_t s, int64_t first, int64_t last)
{
    if (!s.drawn && a.positions == 1 && a.stride == a.units) { /* all of them, as they lie */
        memcpy(s.rows + first * a.units, a.values + first * a.units, (last - first) * a.units * sizeof *a.values);
        return;
    }
    for (int64_t i = first; i < last; i++) {
        int64_t place = s.drawn ? s.drawn[i] : i;
        const float *x = a.values + place / a.positions * a.stride + place % a.positions;
        float *row = s.rows + i * a.units;
        if (a.positions == 1)
            memcpy(row, x, a.units * sizeof *x);
        else
            for (int64_t u = 0; u < a.units; u++)
                row[u] = x[u * a.positions];
    }
}

/* One unit in double, values that are not finite left out: two passes, for what the first could not do. */
static void read_carefully(activations_t a, int64_t unit, double *column, int64_t stride)
{
    double count = 0, sum = 0, rest = 0, squares = 0, low = INFINITY, high = -INFINITY;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t r = 0; r < a.rows; r++) {
            const float *x = a.values + r * a.stride + unit * a.positions;
            for (int64_t i = 0; i < a.positions; i++) {
                double v = x[i];
                if (!isfinite(v))
                    continue;
                if (!pass) {
                    count += 1;
                    sum += v;
                    low = v < low ? v : low;
                    high = v > high ? v : high;
                } else {
                    double d = v - sum / count;
                    rest += d;
                    squares += d * d;
                }
            }
        }
    column[0] = count;
    column[stride] = (double)a.rows * (double)a.positions - count;
    column[2 * stride] = count ? sum / count + rest / count : 0;
    column[3 * stride] = count ? root(squares - rest * rest / count) : 0;
    column[4 * stride] = low;
    column[5 * stride] = high;
}

/* From sums about the centre to the table. A unit may be read again about a better centre: once, since that one is good
   unless its spread is too small for float. */
static void settle(activations_t a, int64_t unit, float centre, double *column, int64_t stride, int again)
{
    double n = (double)a.rows * (double)a.positions;
    double sum = column[2 * stride], squares = column[3 * stride], away = sum * sum / n;
    float low = (float)column[4 * stride], high = (float)column[5 * stride];
    float largest = fabsf(low) > fabsf(high) ? fabsf(low) : fabsf(high);
    column[0] = n;
    column[stride] = 0;
    if (!isfinite(squares) || (low < high && (high - low < SQUARES_FIT || largest > 1 / SQUARES_FIT))) {
        read_carefully(a, unit, column, stride);
    } else if (low == high) {
        column[2 * stride] = low;
        column[3 * stride] = 0;
    } else if (squares - away < away / OFF_CENTRE && again) {
        float better = (float)(centre + sum / n);
        activations_t alone = {a.values + unit * a.positions, a.rows, 1, a.positions, a.stride};
        column[2 * stride] = column[3 * stride] = 0;
        sums_t to = {column + 2 * stride, column + 3 * stride, column + 4 * stride, column + 5 * stride};
        add(alone, 0, a.rows, &better, to);
        settle(a, unit, better, column, stride, 0);
    } else {
        column[2 * stride] = centre + sum / n;
        column[3 * stride] = root(squares - away);
    }
}

void scan(activations_t a, double *table, float *centre, int known, sample_t sample)
{
    int64_t drawn = 0, chunk = a.positions == 1 ? ROWS : rows_together(a.positions);
    if (table) {
        double *mean = table + 2 * a.units; /* where sums are until they are settled */
        sums_t to = {mean, mean + a.units, mean + 2 * a.units, mean + 3 * a.units};
        for (int64_t u = 0; u < a.units; u++) {
            to.sum[u] = to.squares[u] = 0;
            to.low[u] = INFINITY;
            to.high[u] = -INFINITY;
            if (!known)
                centre[u] = a.values[u * a.positions];
        }
        for (int64_t r = 0; r < a.rows; r += chunk) {
            int64_t rows = a.rows - r < chunk ? a.rows - r : chunk, first = drawn;
            add(a, r, rows, centre, to);
            while (drawn < sample.n && (sample.drawn ? sample.drawn[drawn] : drawn) < (r + rows) * a.positions)
                drawn++;
            draw(a, sample, first, drawn); /* while these rows are in the cache */
        }
        for (int64_t u = 0; u < a.units; u++) {
            settle(a, u, centre[u], table + u, a.units, 1);
            centre[u] = (float)mean[u];
        }
    }
    draw(a, sample, drawn, sample.n);
}
