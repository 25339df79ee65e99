/* What the module calls. Arrays are C-contiguous unless a stride is given, strides and sizes are in values.
   Nobody here knows of Python, NumPy or torch: addresses are checked by icshift/sketch/kernel_native.py. */
#pragma once
#include <math.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Activations [rows, units, positions]; a row begins `stride` values after the one before, within it all is contiguous. */
typedef struct {
    const float *values;
    int64_t rows, units, positions, stride;
} activations_t;

/* Sampled places: drawn [n] in rising order, or NULL for all; their rows [n, units] go to `rows`. */
typedef struct {
    const int64_t *drawn;
    int64_t n;
    float *rows;
} sample_t;

/* Moments of all activations, and the sampled rows, in one pass. `table` [6, units] is count, nonfinite, mean, deviation,
   min and max, as of icshift/sketch/moments.py; NULL where only rows are wanted. `centre` [units] is a guess at the mean where
   it is `known`, and afterwards the mean. */
void scan(activations_t activations, double *table, float *centre, int known, sample_t sample);

/* From squared deviations to `deviation`; rounding may have left them below 0. */
static inline double root(double squares) { return squares > 0 ? sqrt(squares) : 0; }

/* What steps show, a step [n, units] after the other; as icshift/sketch/block.py has it. */
#define MOST 1024 /* rows of a step, at most: they are sorted on the stack */
#define QUANTILES 5
#define SLICES 8

typedef struct {
    /* [room, units] Where steps go, sorted, what is not finite as infinity. What there is no room for stays where it was,
       sorted. It may be the rows themselves, for all steps. */
    float *values;
    int64_t room;
    double *table;    /* [steps, 6, units], each as of `scan` */
    int64_t *zeros;   /* [steps, units] */
    float *quantiles; /* [steps, QUANTILES, units] at these probabilities, NaN where there is no finite value */
    double *slices;   /* [steps, SLICES, units] means of equal slices of the finite ones, 0 where there is none; or NULL */
    double *sums;     /* [blocks, SLICES, units] to which the means of slices are added, each times its step's finite values, */
    int64_t *sampled, *none; /* [blocks, units] and to these the numbers of finite values and of zeros; or NULL */
    int64_t taken, length; /* steps that were added before these, and steps of a block */
    const double *probabilities;
} order_t;

void order(float *rows, int64_t steps, int n, int64_t units, order_t out);

/* The moments of several groups as one, `found` [6, units]: of a table whose columns lie `column` values apart and whose
   groups `group`. All are of float32, whose squares are far within the range of double. */
typedef struct {
    const double *table;
    int64_t column, group, groups;
} moments_t;

void total(moments_t of, int64_t units, double *found);

/* A full level of a sketch, as of icshift/sketch/level.py: [LEVEL, units]. Of its sorted columns the ends stay, in its first
   rows, and of every four neighbours between them the mean, or what is nearest to it between the middle two, goes up
   [GOING_UP, units]. `moved` [units] is the sum of all distances to those, with what it may be rounded by; NaN where a value
   is not finite. */
#define LEVEL 512
#define TAIL 16 /* values at either end that stay */
#define GROUP 4
#define GOING_UP ((LEVEL - 2 * TAIL) / GROUP)

void compact(float *level, int64_t units, double rounding, double *moved, float *up);

/* What a window keeps of finite levels [fill, units] of all its sketches, those of one weight after one another and the
   lightest first. */
typedef struct {
    const float *values;
    int fill;
    int32_t weight;
} level_t;

typedef struct {
    int slices;    /* 0 to keep all points as they are: then they all weigh the same */
    float *values; /* [units, slices] means of equal slices, or [units, points] */
    double *error; /* [units] mean distance of the points to their slice's mean */
    float *tails;  /* [units, 2 TAIL] lowest and highest of the first weight, of which there are at least TAIL */
} digest_t;

/* Returns 0 where there is no memory. */
int digest(const level_t *levels, int count, int64_t units, digest_t out);

/* Rows a [n, units] and b [m, units] compared unit by unit, non-finite values left out: `found` [7, units] is Wasserstein-1
   (NaN where either has no value), then the number of values of a, their mean and sum of squared deviations, and those
   of b; of the units `from` to `to` alone. Returns 0 where there is no memory. */
int w1_float(const float *a, int64_t n, const float *b, int64_t m, int64_t units, double *found, int64_t from,
    int64_t to);
int w1_double(const double *a, int64_t n, const double *b, int64_t m, int64_t units, double *found, int64_t from,
    int64_t to);

/* Rows [n, units] in stretches of `step` (at most MOST), the last of which may be shorter, shared out evenly over `blocks`
   one after another: to each are added the means of equal slices of its stretches' finite values, times their number,
   [blocks, SLICES, units], this number and that of exact zeros [blocks, units]. */
typedef struct {
    double *slices;
    int64_t *finite, *zeros;
    int64_t count, from, to; /* blocks; the units that are done */
} blocks_t;

void blocks_of(const float *rows, int64_t n, int64_t units, int step, blocks_t blocks);

/* Blocks of steps of a window, as icshift/blocks.py has them: slices [units, count, SLICES], numbers of values and of zeros
   [units, count] or, where `each` is 0 and not `count`, the same of all units [count]. `starts` [blocks + 1] say of which
   of them, one after another, those are joined that are compared. */
#define MOST_BLOCKS 16

typedef struct {
    const float *slices;
    const int64_t *sampled, *zeros, *starts;
    int64_t count, each;
} window_t;

/* What of values is rounding: a difference of at most this share of them. The noise of independent values has to be `told`
   times that; where it is less, of slices that differ the share `lost` may do so by no more than rounding. */
typedef struct {
    double share, told, lost;
} rounding_t;

/* How blocks of one window differ from those of another, as of icshift/noise/exchange.py: slices [blocks, units, SLICES],
   means and zeros [blocks, units], weights [blocks], in how many blocks a unit was seen in both [units], and which are
   coarse [units]. */
typedef struct {
    double *slices, *means, *zeros, *weights;
    int64_t *seen;
    uint8_t *coarse;
} difference_t;

void differ(window_t a, window_t b, int64_t units, int blocks, const rounding_t *rounding, difference_t out);

/* Exchanges: `weights` [count, blocks] are negative for blocks that change places. */
typedef struct {
    const double *weights;
    int64_t count;
    int blocks;
} exchange_t;

/* What exchanges show of differences [blocks, units, slices], as of icshift/noise/drifts.py: of their weights the signs count.
   Sums and largest [count] over units of what each exchange shows of them, each relative to what all exchanges show of it;
   this of the first exchange [units], NULL where it is not wanted, and of the next `pool` of them [pool, units]; `kept`
   [units] marks which units count, and afterwards which of these showed anything. */
typedef struct {
    double *total, *largest;
    float *shown, *pooled;
    uint8_t *kept;
    int64_t pool;
} exchanged_t;

/* Returns 0 where there is no memory. */
int exchange_blocks(const double *apart, int64_t units, int slices, exchange_t how, exchanged_t out);

/* What is found of two windows beside what their exchanges show: in how many blocks a unit was seen in both and which are
   coarse [units]; with `fewest` or more, and not coarse, a unit counts. To `products` [blocks, blocks] are added those of
   so many blocks, which begin at the starts, as `multiply_blocks` does; none of 0 blocks. */
typedef struct {
    int64_t *seen, fewest;
    uint8_t *coarse;
    const int64_t *starts_a, *starts_b;
    double *products;
    int blocks;
} compared_t;

/* All of this in one go, as of icshift/noise/drifts.py: nothing is written down but what is found. Returns 0 where there is
   no memory. */
int compare(window_t a, window_t b, int64_t units, const rounding_t *rounding, exchange_t how, exchanged_t out,
            compared_t found);

/* The mean distance that slices move in every exchange [count, units], of differences [blocks, units, SLICES]. */
void distances(const double *apart, int64_t units, exchange_t how, double *found);

/* Adds the products of every two blocks' differences [blocks, places], each place measured by how much it varies, to
   `products` [blocks, blocks]. */
void multiply_blocks(const double *apart, int blocks, int64_t places, double *products);

/* The sum of the hashes of rows of `row` values, each of `size` bytes, from the bits of the n places that are drawn of a row,
   each times its factor. */
typedef struct {
    const int64_t *drawn, *factors;
    int64_t n;
} places_t;

int64_t hash_rows(const void *values, int64_t rows, int64_t row, int size, places_t at);

/* Rows of n values of `size` bytes each, from rows in which all their first bytes come first, then all second ones. */
void join_planes(const uint8_t *planes, int64_t rows, int64_t n, int size, uint8_t *values);

/* Quantile functions of rows of at least 2 slice means [units, k], as of icshift/curve.py. Knots come in pairs: TAIL of the
   steps of either end, 11 of the slices beside them, 2 of every other slice. */
#define BENDS 12 /* knots of a slice beside an end, before they are paired */
#define KNOTS(k) (4 * ((k) - 2) + 4 * TAIL + 4 * (BENDS - 1))

typedef struct {
    const int64_t *sampled; /* [units] values that a row stands for */
    const double *tails;    /* [units, 2 TAIL] lowest and highest of them; NULL or NaN where they are not known */
    const double *zeros;    /* [units] their share of zeros; NULL where it is not to be kept */
    double *share, *value;  /* [units, KNOTS(k)] */
} curves_t;

/* Both return 0 where there is no memory. */
int curves_float(const float *values, int64_t units, int64_t k, curves_t out);
int curves_double(const double *values, int64_t units, int64_t k, curves_t out);

/* Functions that are straight between knots [units, knots], of which the places and the values ascend. Before the first and
   after the last knot they have its value. */
typedef struct {
    const double *places, *values;
    int64_t knots;
} lines_t;

/* The integral [units] of the squared difference of both. Returns 0 where there is no memory. */
int squares(lines_t a, lines_t b, int64_t units, double *found);

/* The same, of functions from 0 to 1 that are divided by 2 to a `power` [units], in its three parts [3, units]: squared
   differences of means and of standard deviations, and the rest. Knots come in pairs, between which there is no width. */
int parts(lines_t a, lines_t b, int64_t units, const int64_t *power, double *found);

/* Mean distance [units] of rows a [units, n] and b [units, m], of which each value has the same share of its row. Returns 0
   where there is no memory. */
int apart_float(const float *a, int64_t n, const float *b, int64_t m, int64_t units, double *found);
int apart_double(const double *a, int64_t n, const double *b, int64_t m, int64_t units, double *found);

/* Sorted points [units, n] cut into so many equal slices, which divide n: their means [units, slices], each within its slice, and
   the mean distance [units] of the points from them. */
void cut_even(const float *points, int64_t units, int64_t n, int64_t slices, float *means, double *error);

/* Adds slices [units, count, SLICES] of blocks, each times how many values it stands for, to `sums` of the same shape:
   `sampled` [units, count] or, where they are not those of `each` unit, the same of all units [count]. What stands for no
   value may be anything. */
void add_blocks(const float *slices, const int64_t *sampled, int64_t units, int64_t count, int each, double *sums);

/* The lowest TAIL and the highest [units, 2 TAIL] of `ends` and of others, each in order, take the place of these: NaN where
   either are not known. */
void merge_ends(const float *other, int64_t units, float *ends);

#ifdef __cplusplus
}
#endif
