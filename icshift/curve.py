"""The quantile function of a row of slice means: what a large window says of the values between them.

A slice mean is no point of mass. Its values lie between those of its neighbours, and a `Curve` spreads them there, so
that every slice keeps its mean: a straight line with one bend. Three things in activations are not smooth, and each is
found from the means of the neighbours:

* Atoms (a rectifier's zeros, values that are clipped): neighbours that are equal. A slice between an atom and others is
  flat as far as the atom goes. How far zeros go is known exactly, from their share.
* Gaps between modes: a slice in which the mean lies far from both sides steps from one side to the other, at the place
  that gives the mean. Harten (1989), "ENO schemes with subcell resolution", finds shocks in this way.
* Tails, which are kept one by one (`tails.py`): the outermost slices are what is left beside these.

Rows that are not slice means but all values there are keep their steps.

The compiled kernel does the same, unit by unit (kernel/curve.cc); both agree but for rounding: by 1e-9 of the range of
a unit's values, from the search for the power of a tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift import kernel_choice
from icshift.tails import TAIL

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

_JUMP = 3.0
"""A slice holds a gap where its neighbours lie so many times further apart than these are from theirs."""

_TAIL_JUMP = 10.0
"""The same beside a tail, where values lie ever further apart without a gap."""

_BENDS = 12
"""Knots of a slice beside a tail."""

_POWERS = (-1.0, 20.0)
"""Powers of the rank that a tail may fall off with; at the least of them it is straight."""

_FEW = 20
"""Numbers that are looked up in all rows at once."""

_AHEAD, _ROUNDS = 5.0, 60
"""The logarithm of a power is that of so much more; in how many rounds it is looked for at most."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Quantile functions, one a unit: straight between knots of `share` (0 to 1) and `value`, both [units, knots].

    Both ascend. Knots of one share are a gap between two values, knots of one value an atom. They come in pairs: a
    stretch lies between the two of a pair, and the next pair begins at the share where it ends. All is 0 for units
    that have no values.
    """

    share: Floats
    value: Floats

    def at(self, probabilities: Sequence[float]) -> Floats:
        """Returns quantiles [units, probabilities]; at a gap its lower end."""
        wanted = np.asarray(probabilities, float)
        after = np.clip(_below(self.share, wanted), 1, self.share.shape[1] - 1)
        (start, end), (low, high) = (
            (np.take_along_axis(knots, after - 1, 1), np.take_along_axis(knots, after, 1))
            for knots in (self.share, self.value)
        )
        width = end - start
        part = np.divide(wanted - start, width, out=np.ones_like(width), where=width > 0)
        return np.asarray(low + np.clip(part, 0.0, 1.0) * (high - low))


def _below(rows: Floats, wanted: Floats) -> Ints:
    """Returns how many entries of each row, which ascends, are less than each of the wanted ones [rows, wanted].

    Of few numbers all rows are compared with each at once; of more it takes less to look them up row by row.
    """
    if len(wanted) <= _FEW:
        found = [(rows < one).sum(1) for one in wanted]
        return np.stack(found, axis=1) if found else np.zeros((len(rows), 0), np.int64)
    return np.array([np.searchsorted(row, wanted) for row in rows], np.int64).reshape(len(rows), len(wanted))


def curve(values: Floats, sampled: Ints, tails: Floats | None = None, zero_share: Floats | None = None) -> Curve:
    """Returns the quantile functions of values [units, k] of equal weight that stand for `sampled` ones [units].

    tails [units, 2 TAIL] may be NaN. The share of zeros [units] is of the sampled values.
    """
    width = values.shape[1]
    if not width:
        return Curve(np.tile([0.0, 1.0], (len(values), 1)), np.zeros((len(values), 2)))
    if not (sampled > width).any():
        edges = np.broadcast_to(np.repeat(np.arange(width + 1) / width, 2)[1:-1], (len(values), 2 * width))
        return Curve(edges, np.repeat(np.nan_to_num(values.astype(float)), 2, axis=1))
    if width == 1:  # A slice has two ends: of one that is all there is, either half has its mean.
        values = np.repeat(values, 2, axis=1)
    zeros = None if tails is None or zero_share is None else np.asarray(zero_share, float)
    slices = _native if kernel_choice.uses_native() else _numpy
    return slices(values, sampled, None if tails is None else tails.astype(float), zeros)


def _native(values: Floats, sampled: Ints, tails: Floats | None, zeros: Floats | None) -> Curve:
    units, width = values.shape
    share, value = np.empty((2, units, 4 * (width - 2) + 4 * TAIL + 4 * (_BENDS - 1)))
    values = np.ascontiguousarray(values, None if values.dtype in (np.float32, np.float64) else float)
    rest = (None if one is None else np.ascontiguousarray(one) for one in (tails, zeros))
    known = np.ascontiguousarray(sampled, np.int64)
    kernel_choice.compiled.curve(values, values.itemsize, units, width, known, *rest, share, value)
    return Curve(share, value)


def _numpy(values: Floats, sampled: Ints, tails: Floats | None, zeros: Floats | None) -> Curve:
    values = np.nan_to_num(values.astype(float))
    width = values.shape[1]
    ends = np.full((len(values), 2 * TAIL), np.nan) if tails is None else tails
    single = (sampled > width) & (sampled >= 2 * TAIL)
    low, high, reach = _reach(ends, single, values, sampled)
    edges, means = _between(values, low, high, reach)
    share, value = _spread(edges, means, low, high, reach > 0)
    value = np.where((sampled > width)[:, None, None], value, values[:, :, None])
    low = np.where(reach[0][:, None] > 0, low, value[:, 0, :1])
    high = np.where(reach[1][:, None] > 0, high, value[:, -1, -1:])
    first = _bent(share[:, 0], value[:, 0], means[:, 0], reach[0], sampled)
    last = _bent(share[:, -1, ::-1], value[:, -1, ::-1], means[:, -1], reach[1], sampled)
    knots = [
        _steps(low, np.zeros(len(values)), reach[0]),
        _paired(*first),
        *((share[:, 1:-1].reshape(len(values), -1), value[:, 1:-1].reshape(len(values), -1)),),
        _paired(last[0][:, ::-1], last[1][:, ::-1]),
        _steps(high, 1 - reach[1], reach[1]),
    ]
    share, value = (np.concatenate(parts, axis=1) for parts in zip(*knots, strict=True))
    value = np.maximum.accumulate(value, axis=1)
    if zeros is not None:
        share = _with_zeros(share, value, zeros, width)
    return Curve(share, value)


def _reach(tails: Floats, single: NDArray[np.bool_], values: Floats, sampled: Ints) -> tuple[Floats, Floats, Floats]:
    """Returns the ends [units, TAIL] and the shares [2, units] that they hold: 0 where an end is not known.

    In place of what is not known stands where the means lead to in a straight line.
    """
    known = [(np.isfinite(end).all(1) & single) for end in (tails[:, :TAIL], tails[:, TAIL:])]
    inner, outer = (values[:, 1], values[:, -2]) if values.shape[1] > 1 else (values[:, 0], values[:, 0])
    ramp = 1 + np.arange(TAIL) / (TAIL - 1)
    low = values[:, :1] - (inner - values[:, 0])[:, None] * ramp[::-1]
    high = values[:, -1:] + (values[:, -1] - outer)[:, None] * ramp
    low, high = np.where(known[0][:, None], tails[:, :TAIL], low), np.where(known[1][:, None], tails[:, TAIL:], high)
    return low, high, np.where(known, TAIL / np.maximum(sampled, 1), 0.0)


def _between(values: Floats, low: Floats, high: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Returns edges [units, k + 1] and means [units, k] of what the slices hold beside both ends."""
    width = values.shape[1]
    plain = np.arange(width + 1) / width
    edges = np.clip(plain, reach[0][:, None], 1 - reach[1][:, None])
    covered = _covered(low, reach[0], plain) + _covered(high[:, ::-1], reach[1], 1 - plain[::-1])[:, ::-1]
    room, touched = np.diff(edges, axis=1), (plain[:-1] < reach[0][:, None]) | (plain[1:] > 1 - reach[1][:, None])
    left = np.divide(values / width - covered, room, out=np.array(values), where=touched & (room > 1e-12))
    above = np.concatenate([values[:, 1:], high[:, :1]], axis=1)
    below = np.concatenate([low[:, -1:], values[:, :-1]], axis=1)
    first = plain[:-1] < reach[0][:, None]
    left = np.where(touched, np.where(first, np.minimum(left, above), np.maximum(left, below)), left)
    left = np.where(touched, np.clip(left, low[:, -1:], high[:, :1]), left)
    left = np.where(touched & (room <= 1e-12), np.where(first, low[:, -1:], high[:, :1]), left)
    return edges, np.maximum.accumulate(left, axis=1)


def _covered(end: Floats, reach: Floats, plain: Floats) -> Floats:
    """Returns the integral [units, k] of the values of an end over each slice between `plain` edges [k + 1]."""
    one = reach[:, None] / TAIL
    place = np.clip(np.divide(plain, one, out=np.zeros((len(end), len(plain))), where=one > 0), 0, TAIL)
    whole = np.minimum(place.astype(int), TAIL - 1)
    sums = np.concatenate([np.zeros((len(end), 1)), np.cumsum(end, axis=1)], axis=1)
    integral = np.take_along_axis(sums, whole, 1) + (place - whole) * np.take_along_axis(end, whole, 1)
    return np.diff(integral, axis=1) * one


def _steps(end: Floats, start: Floats, reach: Floats) -> tuple[Floats, Floats]:
    """Returns the knots of single values from a share on, each a step."""
    share = start[:, None] + reach[:, None] * np.repeat(np.arange(TAIL + 1), 2)[1:-1] / TAIL
    return share, np.repeat(end, 2, axis=1)


def _paired(share: Floats, value: Floats) -> tuple[Floats, Floats]:
    """Returns knots in a row as pairs: each is where a stretch ends and the next begins."""
    return np.repeat(share, 2, axis=1)[:, 1:-1], np.repeat(value, 2, axis=1)[:, 1:-1]


def _spread(edges: Floats, means: Floats, low: Floats, high: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Returns the knots of slices [units, k, 4]: start, before and after the bend, end."""
    around = np.concatenate([low[:, :1], low[:, -1:], means, high[:, :1], high[:, -1:]], axis=1)
    lower, upper = _limits(around, known)
    gap, place, sides = _gaps(around)
    # Where a slice has a gap, the ones beside it reach to its sides and no further.
    upper[:, :-1] = np.where(gap[:, 1:], sides[0][:, 1:], upper[:, :-1])
    lower[:, 1:] = np.where(gap[:, :-1], sides[3][:, :-1], lower[:, 1:])
    lower, upper = np.minimum(lower, means), np.maximum(upper, means)
    span = upper - lower
    bend = 2 * means - (lower + upper) / 2
    part = np.full_like(means, 0.5)
    np.divide(span - 2 * (means - lower), span, out=part, where=(bend < lower) & (span > 0))
    np.divide(2 * (upper - means), span, out=part, where=(bend > upper) & (span > 0))
    bend = np.clip(bend, lower, upper)
    value = np.where(gap, sides, [lower, bend, bend, upper])
    start, room = edges[:, :-1], np.diff(edges, axis=1)
    middle = start + np.where(gap, place, part) * room
    return np.stack([start, middle, middle, edges[:, 1:]], axis=2), np.moveaxis(value, 0, 2)


def _limits(around: Floats, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Returns where slices begin and end [units, k], halfway to the neighbour but for atoms.

    around [units, k + 4]: means, and two values beyond them on either side.
    """
    equal = around[:, 1:] == around[:, :-1]
    atom = np.zeros(around.shape, bool)
    atom[:, 1:] |= equal
    atom[:, :-1] |= equal
    left, right = around[:, 1:-2], around[:, 2:-1]
    further_left, further_right = around[:, :-3], around[:, 3:]
    between = (left + right) / 2
    after_corner = atom[:, :-3] & ~atom[:, 1:-2]
    before_corner = atom[:, 3:] & ~atom[:, 2:-1]
    between = np.where(after_corner, np.clip(right - (further_right - right) / 2, left, right), between)
    between = np.where(before_corner, np.clip(left + (left - further_left) / 2, left, right), between)
    of_left = np.where(atom[:, 1:-2], left, np.where(atom[:, 2:-1], right, between))
    of_right = np.where(atom[:, 2:-1], right, np.where(atom[:, 1:-2], left, between))
    lower, upper = of_right[:, :-1].copy(), of_left[:, 1:].copy()
    lower[:, 0] = np.where(known[0], left[:, 0], lower[:, 0])
    upper[:, -1] = np.where(known[1], right[:, -1], upper[:, -1])
    return lower, upper


def _gaps(around: Floats) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """Returns which slices hold a gap, at which part of them [units, k], and the values at its sides [4, units, k].

    These are the value at the start, those before and after the gap, and the one at the end. Both sides go on as their
    neighbours do.
    """
    means, below, above = around[:, 2:-2], around[:, 1:-3], around[:, 3:-1]
    before, after = below - around[:, :-4], around[:, 4:] - above
    factor = np.full(means.shape[1], _JUMP)
    factor[[0, -1]] = _TAIL_JUMP
    gap = (above - below > factor * (before + after)) & (below < means) & (means < above)
    start, end = np.minimum(below + before / 2, means), np.maximum(above - after / 2, means)
    span = np.where(gap, end - start, 1.0)
    place = np.zeros_like(means)
    for _ in range(5):  # The sides' own slopes are small beside the gap: this converges at once.
        place = np.clip((end - means + place**2 * before / 2 - (1 - place) ** 2 * after / 2) / span, 0.0, 1.0)
    inner = np.minimum(start + place * before, end), np.maximum(end - (1 - place) * after, start)
    return gap, place, np.stack([start, np.minimum(*inner), np.maximum(*inner), end])


def _bent(share: Floats, value: Floats, mean: Floats, reach: Floats, sampled: Ints) -> tuple[Floats, Floats]:
    """Returns the knots [units, knots] of a slice beside an end, whose own are given from the end inwards [units, 4].

    Values beyond a high threshold follow a generalised Pareto distribution (Pickands 1975), whose quantiles are
    a + b k^-x of the rank k from the end. Both limits of the slice and its mean give a, b and x. Where there is no such
    x, or the slice holds a gap or few values, its own knots stay.
    """
    outer, inner = value[:, 0], value[:, -1]
    room = np.abs(share[:, -1] - share[:, 0])
    ratio = 1 + room * sampled / TAIL
    target = np.divide(mean - inner, outer - inner, out=np.ones_like(mean), where=outer != inner)
    follows = (reach > 0) & (ratio > 2) & (target > 0) & (target < 0.5) & (value[:, 1] == value[:, 2])
    power = np.ones((len(mean), 1))
    power[follows, 0] = _power(target[follows], ratio[follows])
    ratio = np.where(follows, ratio, 2.0)[:, None]
    ranks = ratio ** (np.arange(_BENDS) / (_BENDS - 1))
    along = share[:, :1] + (ranks - 1) / (ratio - 1) * (share[:, -1:] - share[:, :1])
    values = inner[:, None] + (outer - inner)[:, None] * _pareto(ranks, power, ratio)
    own = np.minimum(np.arange(_BENDS), 3)
    return np.where(follows[:, None], along, share[:, own]), np.where(follows[:, None], values, value[:, own])


def _power(target: Floats, ratio: Floats) -> Floats:
    """Returns the powers [units] of which `_pareto_mean` is the target, of `_POWERS` the nearer one where none is.

    By false position (Anderson & Bjorck 1973) on the logarithm of the mean over that of the power, which is nearly
    straight: most take seven rounds where halving takes thirty.
    """
    goal, (low, high) = np.log(target), (np.full_like(target, np.log(power + _AHEAD)) for power in _POWERS)
    at_low, at_high = (np.log(_pareto_mean(np.full_like(target, power), ratio)) - goal for power in _POWERS)
    power = np.where(at_low > 0, _POWERS[1], _POWERS[0])
    here = np.flatnonzero((at_low > 0) & (at_high < 0))
    state = np.array([goal, ratio, low, high, at_low, at_high])[:, here]
    for _ in range(_ROUNDS):
        goal, ratio, low, high, at_low, at_high = state
        tried = low + (high - low) * (at_low / (at_low - at_high))
        power[here] = np.exp(tried) - _AHEAD
        off = np.log(_pareto_mean(power[here], ratio)) - goal
        above = off > 0
        cut = 1 - off / np.where(above, at_low, at_high)
        cut = np.where(cut > 0, cut, 0.5)
        going_on = (np.abs(off) >= 1e-11) & (high - low >= 1e-12)
        low, high = np.where(above, tried, low), np.where(above, high, tried)
        at_low, at_high = np.where(above, off, at_low * cut), np.where(above, at_high * cut, off)
        here, state = here[going_on], np.array([goal, ratio, low, high, at_low, at_high])[:, going_on]
        if not len(here):
            break
    return power


def _pareto(rank: Floats, power: Floats, ratio: Floats) -> Floats:
    """Returns k^-x between 1, where the rank is 1, and 0, where it is `ratio`; its logarithm where x is 0."""
    power = np.where(np.abs(power) < 1e-6, 1e-6, power)
    return (rank**-power - ratio**-power) / (1 - ratio**-power)


def _pareto_mean(power: Floats, ratio: Floats) -> Floats:
    """Returns the mean of `_pareto` over all ranks."""
    power = np.where(np.abs(power) < 1e-6, 1e-6, np.where(np.abs(power - 1) < 1e-6, 1 + 1e-6, power))
    mean = (ratio ** (1 - power) - 1) / ((1 - power) * (ratio - 1))
    return (mean - ratio**-power) / (1 - ratio**-power)


def _with_zeros(share: Floats, value: Floats, zeros: Floats, slices: int) -> Floats:
    """Returns shares of knots moved so that zeros have their share, where a whole slice is of zeros.

    Only shares of the two slices beside the zeros move. What the zeros lose or gain goes to both sides alike, to one
    where there is one.
    """
    zero = value == 0
    start, stop = np.where(zero, share, 2.0).min(1), np.where(zero, share, -1.0).max(1)
    found = (stop > start) & np.isfinite(zeros)
    more = np.where(found, zeros - (stop - start), 0.0)
    below, above = (start > 0) & found, (stop < 1) & found
    sides = np.maximum(below.astype(int) + above, 1)
    room = 2.0 / slices
    ends = []
    for side, edge, far in ((below, start, np.maximum(start - room, 0)), (above, stop, np.minimum(stop + room, 1))):
        moved = np.clip(more / sides, -(stop - start) / 2, np.abs(far - edge)) * np.sign(far - edge)
        ends.append((side, edge, far, edge + moved))
    for side, edge, far, target in ends:
        span = far - edge
        part = np.divide(
            share - edge[:, None],
            span[:, None],
            out=np.full_like(share, -1),
            where=side[:, None] & (span != 0)[:, None],
        )
        share = np.where((part >= 0) & (part <= 1), target[:, None] + part * (far - target)[:, None], share)
    # Where zeros have lost something, knots among them lie beyond their new edges.
    low, high = (np.where(side, target, edge)[:, None] for side, edge, _, target in ends)
    return np.where(zero & found[:, None], np.clip(share, low, high), share)
