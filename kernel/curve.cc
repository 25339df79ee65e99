/* The quantile function of a row of slice means, as icshift/curve.py has it: there is said why each step is taken, and the
   steps have the same names here. What is the same for most slices goes through all of them at once, without a branch;
   gaps, and slices that the ends reach into, are few and are done one by one. */
#include <algorithm>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"
#include "levels.h"

#define JUMP 3.0 /* by how much further than theirs the neighbours of a gap lie apart */
#define TAIL_JUMP 10.0
#define NARROW 1e-12 /* a slice of which the ends leave no more than this is theirs */
#define ROUNDS 60 /* in which the power of an end is looked for; it seldom takes ten */
#define LEAST_POWER -1.0
#define MOST_POWER 20.0

INLINE double least(double a, double b) { return a < b ? a : b; }
INLINE double most(double a, double b) { return a > b ? a : b; }
INLINE double within(double v, double low, double high) { return least(most(v, low), high); }

typedef double four_t __attribute__((vector_size(4 * sizeof(double))));

#if defined(__clang__) || __GNUC__ >= 12
#define MIXED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define MIXED(a, b, ...) __builtin_shuffle(a, b, (decltype(a > b)){__VA_ARGS__})
#endif

/* One unit. Of `around` [k + 4] the means are the middle, beside two values beyond them at either end; a further place
   before and after is NaN, so that it equals nothing. */
typedef struct {
    double low[TAIL], high[TAIL], low_reach, high_reach; /* the ends and their shares; 0 where they are not known */
    double *around, *edges, *lower, *upper, *middle, *bend;
    int64_t *atom, *gap, gaps; /* which slices hold a gap, and whether any does */
} unit_t;

/* Four knots: start, before and after the bend or the gap, end. */
typedef struct {
    double share[4], value[4];
} slice_t;

INLINE void reach(unit_t *u, const double *values, int64_t k, int64_t sampled, const double *tails)
{
    int single = sampled > k && sampled >= 2 * TAIL, low = single && tails, high = low;
    for (int i = 0; low && i < TAIL; i++)
        low = tails[i] - tails[i] == 0;
    for (int i = TAIL; high && i < 2 * TAIL; i++)
        high = tails[i] - tails[i] == 0;
    for (int i = 0; i < TAIL; i++) {
        double ramp = 1 + (double)i / (TAIL - 1);
        u->low[TAIL - 1 - i] = low ? tails[TAIL - 1 - i] : values[0] - (values[1] - values[0]) * ramp;
        u->high[i] = high ? tails[TAIL + i] : values[k - 1] + (values[k - 1] - values[k - 2]) * ramp;
    }
    u->low_reach = low ? TAIL / (double)sampled : 0;
    u->high_reach = high ? TAIL / (double)sampled : 0;
}

/* The integral of the values of an end from its outermost on, over a share. */
INLINE double covered(const double *end, int step, double reach, double share)
{
    double one = reach / TAIL, place = one > 0 ? within(share / one, 0, TAIL) : 0, sum = 0;
    int whole = place < TAIL ? (int)place : TAIL - 1;
    for (int i = 0; i < whole; i++)
        sum += end[i * step];
    return (sum + (place - whole) * end[whole * step]) * one;
}

/* What a slice holds beside the ends; `above` and `below` are the means of its neighbours. */
INLINE double left_of(const unit_t *u, double value, int64_t j, int64_t k, double below, double above)
{
    double start = (double)j / k, end = (double)(j + 1) / k, room = u->edges[j + 1] - u->edges[j];
    const double *top = u->high + TAIL - 1;
    int first = start < u->low_reach;
    if (!(room > NARROW))
        return first ? u->low[TAIL - 1] : u->high[0];
    double taken = covered(u->low, 1, u->low_reach, end) - covered(u->low, 1, u->low_reach, start);
    taken += covered(top, -1, u->high_reach, 1 - start) - covered(top, -1, u->high_reach, 1 - end);
    double left = (value / k - taken) / room;
    return within(first ? least(left, above) : most(left, below), u->low[TAIL - 1], u->high[0]);
}

/* Sets the running maximum: mostly that is what the values are. */
INLINE void ascending(double *v, int64_t n)
{
    int64_t falls = 0;
    for (int64_t i = 1; i < n; i++)
        falls |= !(v[i] >= v[i - 1]);
    for (int64_t i = 1; falls && i < n; i++)
        v[i] = most(v[i], v[i - 1]);
}

INLINE void between(unit_t *u, const double *values, int64_t k, const double *plain)
{
    double *means = u->around + 2;
    for (int64_t j = 0; j <= k; j++)
        u->edges[j] = within(plain[j], u->low_reach, 1 - u->high_reach);
    for (int64_t j = 0; j < k; j++)
        means[j] = values[j];
    int64_t begun = 0;
    for (; begun < k && (plain[begun] < u->low_reach || plain[begun + 1] > 1 - u->high_reach); begun++)
        means[begun] = left_of(u, values[begun], begun, k, begun ? values[begun - 1] : u->low[TAIL - 1],
                               begun + 1 < k ? values[begun + 1] : u->high[0]);
    for (int64_t j = k - 1; j > begun && plain[j + 1] > 1 - u->high_reach; j--)
        means[j] = left_of(u, values[j], j, k, values[j - 1], j + 1 < k ? values[j + 1] : u->high[0]);
    ascending(means, k);
    u->around[-1] = u->around[k + 4] = NAN;
    u->around[0] = u->low[0];
    u->around[1] = u->low[TAIL - 1];
    u->around[k + 2] = u->high[0];
    u->around[k + 3] = u->high[TAIL - 1];
}

/* Where slices begin and end. */
INLINE void limits(unit_t *u, int64_t k)
{
    const double *a = u->around;
    int64_t *atom = u->atom;
    for (int64_t i = 0; i < k + 4; i++)
        atom[i] = (a[i] == a[i - 1]) | (a[i] == a[i + 1]);
    for (int64_t i = 0; i <= k; i++) {
        double left = a[i + 1], right = a[i + 2], middle = (left + right) / 2;
        double after_corner = within(right - (a[i + 3] - right) / 2, left, right);
        middle = atom[i] && !atom[i + 1] ? after_corner : middle;
        double before_corner = within(left + (left - a[i]) / 2, left, right);
        middle = atom[i + 3] && !atom[i + 2] ? before_corner : middle;
        /* the slice before this limit ends where the one after begins, but for atoms: these reach to none */
        u->upper[i] = atom[i + 1] ? left : atom[i + 2] ? right : middle;
        u->lower[i] = atom[i + 2] ? right : atom[i + 1] ? left : middle;
    }
    if (u->low_reach > 0)
        u->lower[0] = a[1];
    if (u->high_reach > 0)
        u->upper[k] = a[k + 2];
}

/* The gap that a slice holds: at which part of it, and the values at its sides. */
INLINE double gap_of(const double *mean, double sides[4])
{
    double below = mean[-1], above = mean[1], before = below - mean[-2], after = mean[2] - above, place = 0;
    double start = least(below + before / 2, *mean), end = most(above - after / 2, *mean), span = end - start;
    for (int round = 0; round < 5; round++)
        place = within((end - *mean + place * place * before / 2 - (1 - place) * (1 - place) * after / 2) / span, 0, 1);
    double one = least(start + place * before, end), other = most(end - (1 - place) * after, start);
    sides[0] = start;
    sides[1] = least(one, other);
    sides[2] = most(one, other);
    sides[3] = end;
    return place;
}

/* The slice j as its knots; `limits` has been there. */
INLINE slice_t knots_of(const unit_t *u, int64_t j)
{
    double start = u->edges[j], end = u->edges[j + 1], middle = u->middle[j], bend = u->bend[j];
    slice_t found = {{start, middle, middle, end}, {u->lower[j], bend, bend, u->upper[j + 1]}};
    if (u->gap[j]) {
        middle = start + gap_of(u->around + 2 + j, found.value) * (end - start);
        found.share[1] = found.share[2] = middle;
    }
    return found;
}

INLINE void spread(unit_t *u, int64_t k)
{
    const double *mean = u->around + 2;
    double *upper = u->upper + 1, *lower = u->lower;
    int64_t gaps = 0;
    for (int64_t j = 0; j < k; j++) {
        double factor = j == 0 || j == k - 1 ? TAIL_JUMP : JUMP, below = mean[j - 1], above = mean[j + 1];
        u->gap[j] = (above - below > factor * ((below - mean[j - 2]) + (mean[j + 2] - above))) & (below < mean[j]) &
                    (mean[j] < above);
        gaps |= u->gap[j];
    }
    u->gaps = gaps;
    for (int64_t j = 0; gaps && j < k; j++) { /* the slices beside a gap reach to its sides and no further */
        double sides[4];
        if (!u->gap[j])
            continue;
        gap_of(mean + j, sides);
        if (j)
            upper[j - 1] = sides[0];
        if (j + 1 < k)
            lower[j + 1] = sides[3];
    }
    for (int64_t j = 0; j < k; j++) {
        double m = mean[j], from = least(lower[j], m), to = most(upper[j], m), span = to - from;
        double bend = 2 * m - (from + to) / 2, over = 0.5, under = 1;
        over = bend < from && span > 0 ? span - 2 * (m - from) : over;
        under = bend < from && span > 0 ? span : under;
        over = bend > to && span > 0 ? 2 * (to - m) : over;
        under = bend > to && span > 0 ? span : under;
        lower[j] = from;
        upper[j] = to;
        u->bend[j] = within(bend, from, to);
        u->middle[j] = u->edges[j] + over / under * (u->edges[j + 1] - u->edges[j]);
    }
}

/* 1 / (1 - x) is not taken where it has no number; the function goes on smoothly there. */
INLINE double away(double power, double from) { return fabs(power - from) < 1e-6 ? from + 1e-6 : power; }

INLINE double pareto_mean(double power, double ratio, double log_ratio)
{
    power = away(away(power, 0), 1);
    double last = exp(-power * log_ratio), mean = (ratio * last - 1) / ((1 - power) * (ratio - 1));
    return (mean - last) / (1 - last);
}

/* The power whose mean is the target: `_power` of icshift/curve.py. */
INLINE double power_of(double target, double ratio, double log_ratio)
{
    double goal = log(target), a = log(LEAST_POWER + 5), b = log(MOST_POWER + 5);
    double at_a = log(pareto_mean(LEAST_POWER, ratio, log_ratio)) - goal;
    double at_b = log(pareto_mean(MOST_POWER, ratio, log_ratio)) - goal, power = MOST_POWER;
    if (!(at_a > 0))
        return LEAST_POWER;
    if (!(at_b < 0))
        return MOST_POWER;
    for (int round = 0; round < ROUNDS; round++) {
        double x = a + (b - a) * (at_a / (at_a - at_b));
        power = exp(x) - 5;
        double here = log(pareto_mean(power, ratio, log_ratio)) - goal;
        if (fabs(here) < 1e-11 || b - a < 1e-12)
            break;
        double cut = 1 - here / (here > 0 ? at_a : at_b);
        cut = cut > 0 ? cut : 0.5;
        at_b = here > 0 ? at_b * cut : here;
        at_a = here > 0 ? here : at_a * cut;
        a = here > 0 ? x : a;
        b = here > 0 ? b : x;
    }
    return power;
}

/* The knots of a slice beside an end, from the end inwards; the slice's own are given so too. */
INLINE void bent(slice_t own, double mean, double reach, int64_t sampled, double share[BENDS], double value[BENDS])
{
    double outer = own.value[0], inner = own.value[3], room = fabs(own.share[3] - own.share[0]);
    double ratio = 1 + room * (double)sampled / TAIL, target = outer != inner ? (mean - inner) / (outer - inner) : 1;
    if (!(reach > 0 && ratio > 2 && target > 0 && target < 0.5 && own.value[1] == own.value[2])) {
        for (int i = 0; i < BENDS; i++) {
            share[i] = own.share[i < 3 ? i : 3];
            value[i] = own.value[i < 3 ? i : 3];
        }
        return;
    }
    double log_ratio = log(ratio), power = power_of(target, ratio, log_ratio);
    power = away(power, 0);
    double rank = 1, rank_by = exp(log_ratio / (BENDS - 1)), part = 1, last = exp(-power * log_ratio);
    double part_by = exp(-power * log_ratio / (BENDS - 1));
    for (int i = 0; i < BENDS; i++, rank *= rank_by, part *= part_by) {
        share[i] = own.share[0] + (rank - 1) / (ratio - 1) * (own.share[3] - own.share[0]);
        value[i] = inner + (outer - inner) * ((part - last) / (1 - last));
    }
    share[BENDS - 1] = own.share[3];
    value[BENDS - 1] = inner;
}

/* A row of knots as pairs: each where a stretch ends and the next begins. `step` is 1, or -1 to turn them over. */
INLINE void paired(const double *knots, int step, double *into)
{
    const double *k = step > 0 ? knots : knots + BENDS - 1;
    for (int i = 0; i + 1 < BENDS; i++) {
        into[2 * i] = k[i * step];
        into[2 * i + 1] = k[(i + 1) * step];
    }
}

/* Four knots of every slice, of which the middle two are one. */
INLINE void braided(const double *start, const double *middle, const double *end, int64_t n, double *into)
{
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        four_t a, b, c, first[2], last[2];
        memcpy(&a, start + j, sizeof a);
        memcpy(&b, middle + j, sizeof b);
        memcpy(&c, end + j, sizeof c);
        first[0] = MIXED(a, b, 0, 4, 1, 5);
        first[1] = MIXED(a, b, 2, 6, 3, 7);
        last[0] = MIXED(b, c, 0, 4, 1, 5);
        last[1] = MIXED(b, c, 2, 6, 3, 7);
        for (int half = 0; half < 2; half++) {
            four_t one = MIXED(first[half], last[half], 0, 1, 4, 5), other = MIXED(first[half], last[half], 2, 3, 6, 7);
            memcpy(into + 4 * j + 8 * half, &one, sizeof one);
            memcpy(into + 4 * j + 8 * half + 4, &other, sizeof other);
        }
    }
    for (; j < n; j++) {
        into[4 * j] = start[j];
        into[4 * j + 1] = into[4 * j + 2] = middle[j];
        into[4 * j + 3] = end[j];
    }
}

/* The knots of single values from a share on, each a step. */
INLINE void steps(const double *end, double start, double reach, double *share, double *value)
{
    for (int i = 0; i < TAIL; i++) {
        share[2 * i] = start + reach * i / TAIL;
        share[2 * i + 1] = start + reach * (i + 1) / TAIL;
        value[2 * i] = value[2 * i + 1] = end[i];
    }
}

/* Moves what lies from an edge of the zeros as far as `far`, so that the edge comes to lie at a target. */
INLINE void move(double *share, int64_t knots, double edge, double far, double target)
{
    double span = far - edge;
    if (span == 0)
        return;
    for (int64_t i = 0; i < knots; i++) {
        double part = (share[i] - edge) / span;
        share[i] = part >= 0 && part <= 1 ? target + part * (far - target) : share[i];
    }
}

INLINE void with_zeros(double *share, const double *value, int64_t knots, double zeros, int64_t k)
{
    if (value[0] > 0 || value[knots - 1] < 0 || !(zeros - zeros == 0))
        return;
    int64_t first = std::lower_bound(value, value + knots, 0.0) - value;
    int64_t after = std::upper_bound(value + first, value + knots, 0.0) - value;
    if (first == after || !(share[after - 1] > share[first]))
        return;
    double start = share[first], stop = share[after - 1];
    double more = zeros - (stop - start), room = 2.0 / k;
    int below = start > 0, above = stop < 1, sides = below + above > 1 ? 2 : 1;
    double far_below = most(start - room, 0), far_above = least(stop + room, 1), least_move = -(stop - start) / 2;
    double down = within(more / sides, least_move, fabs(far_below - start)) * (far_below < start ? -1 : 0);
    double up = within(more / sides, least_move, fabs(far_above - stop)) * (far_above > stop ? 1 : 0);
    if (below)
        move(share, knots, start, far_below, start + down);
    if (above)
        move(share, knots, stop, far_above, stop + up);
    double from = below ? start + down : start, to = above ? stop + up : stop;
    for (int64_t i = first; i < after; i++) /* where zeros have lost something, some lie beyond their new edges */
        share[i] = within(share[i], from, to);
}

/* All knots of one unit of at least 2 slices. */
INLINE void unit_curve(unit_t *u, const double *values, int64_t k, int64_t sampled, double *share, double *value)
{
    slice_t first = knots_of(u, 0), last = knots_of(u, k - 1), turned;
    double *inner_share = share + 2 * TAIL + 2 * (BENDS - 1), *inner_value = value + 2 * TAIL + 2 * (BENDS - 1);
    braided(u->edges + 1, u->middle + 1, u->edges + 2, k - 2, inner_share);
    braided(u->lower + 1, u->bend + 1, u->upper + 2, k - 2, inner_value);
    for (int64_t j = 1; u->gaps && j < k - 1; j++)
        if (u->gap[j]) {
            slice_t s = knots_of(u, j);
            memcpy(inner_share + 4 * (j - 1), s.share, sizeof s.share);
            memcpy(inner_value + 4 * (j - 1), s.value, sizeof s.value);
        }
    if (sampled <= k) { /* these are no means, but all values there are */
        for (int i = 0; i < 4; i++)
            first.value[i] = values[0], last.value[i] = values[k - 1];
        braided(values + 1, values + 1, values + 1, k - 2, inner_value);
    }
    for (int i = 0; i < TAIL; i++) {
        u->low[i] = u->low_reach > 0 ? u->low[i] : first.value[0];
        u->high[i] = u->high_reach > 0 ? u->high[i] : last.value[3];
    }
    for (int i = 0; i < 4; i++)
        turned.share[i] = last.share[3 - i], turned.value[i] = last.value[3 - i];
    double bent_share[BENDS], bent_value[BENDS];
    double *after_share = inner_share + 4 * (k - 2), *after_value = inner_value + 4 * (k - 2);
    steps(u->low, 0, u->low_reach, share, value);
    bent(first, u->around[2], u->low_reach, sampled, bent_share, bent_value);
    paired(bent_share, 1, share + 2 * TAIL);
    paired(bent_value, 1, value + 2 * TAIL);
    bent(turned, u->around[k + 1], u->high_reach, sampled, bent_share, bent_value);
    paired(bent_share, -1, after_share);
    paired(bent_value, -1, after_value);
    after_share += 2 * (BENDS - 1);
    after_value += 2 * (BENDS - 1);
    steps(u->high, 1 - u->high_reach, u->high_reach, after_share, after_value);
    ascending(value, after_value + 2 * TAIL - value);
}

/* As numpy.nan_to_num has it. */
INLINE double number(double v) { return v - v == 0 ? v : v > 0 ? 1.7976931348623157e308 : v < 0 ? -1.7976931348623157e308 : 0; }

template <typename T> INLINE int all_units(const T *values, int64_t units, int64_t k, curves_t out)
{
    int64_t room = k + 8, knots = KNOTS(k);
    double *memory = (double *)malloc((8 * sizeof(double) + 2 * sizeof(int64_t)) * room);
    if (!memory)
        return 0;
    double *plain = memory, *row = plain + room;
    unit_t u;
    u.around = row + room + 1;
    u.edges = row + 2 * room;
    u.lower = u.edges + room;
    u.upper = u.lower + room;
    u.middle = u.upper + room;
    u.bend = u.middle + room;
    u.atom = (int64_t *)(u.bend + room);
    u.gap = u.atom + room;
    for (int64_t j = 0; j <= k; j++)
        plain[j] = (double)j / k;
    for (int64_t unit = 0; unit < units; unit++) {
        for (int64_t j = 0; j < k; j++)
            row[j] = number(values[unit * k + j]);
        reach(&u, row, k, out.sampled[unit], out.tails ? out.tails + unit * 2 * TAIL : NULL);
        between(&u, row, k, plain);
        limits(&u, k);
        spread(&u, k);
        double *share = out.share + unit * knots, *value = out.value + unit * knots;
        unit_curve(&u, row, k, out.sampled[unit], share, value);
        if (out.zeros)
            with_zeros(share, value, knots, out.zeros[unit], k);
    }
    free(memory);
    return 1;
}

extern "C" CLONES int curves_float(const float *values, int64_t units, int64_t k, curves_t out)
{
    return all_units(values, units, k, out);
}

extern "C" CLONES int curves_double(const double *values, int64_t units, int64_t k, curves_t out)
{
    return all_units(values, units, k, out);
}
