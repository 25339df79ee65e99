"""Two functions of a unit laid over one another: integrals of their difference, and the pieces these are made of.

A function is a polyline, its places [units, knots] and values [units, knots], both of which ascend; before its first
knot it has the value of that, after its last the value of that. A quantile function is one over shares, a distribution
function the same over values. Rows of values of equal weight [units, values] are steps.

The compiled kernel goes along both at once and writes no pieces down (kernel/pieces.cc). Both agree but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift import kernel_choice

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Lines = tuple[Floats, Floats]
"""Places and values."""

GAUSS = (0.5 - 3**-0.5 / 2, 0.5 + 3**-0.5 / 2)
"""Places in a piece whose mean of squares is that of the piece, where functions are straight."""

_AT_ONCE = 64
"""Units that NumPy lays over one another at once: 5 MB."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Two functions between knots of both: the `width` of each piece [units, pieces] and what both are in it.

    Both are straight within a piece and are given at the places `GAUSS` of it: `first` and `second` [2, units, pieces].
    Pieces without width are of no account.
    """

    width: Floats
    first: Floats
    second: Floats


def pieces(first: Lines, second: Lines) -> Pieces:
    """Returns the pieces of two polylines."""
    places = np.sort(np.concatenate([first[0], second[0]], axis=1), axis=1)
    width = np.diff(places, axis=1)
    inner = places[:, :-1] + np.array(GAUSS)[:, None, None] * width
    found = np.empty((2, *inner.shape))
    # One interpolation for all units would have to lay them end to end, and lose digits to the long axis. To merge the
    # knots of all units at once and to look up the stretch that each piece is in takes no less.
    for unit in range(len(width)):
        for which, (at, value) in enumerate((first, second)):
            found[which, :, unit] = np.interp(inner[:, unit], at[unit], value[unit])
    return Pieces(width, *found)


def squares(first: Lines, second: Lines) -> Floats:
    """Returns the integral [units] of the squared difference of two polylines."""
    if kernel_choice.uses_native():
        found = np.empty(len(first[0]))
        kernel_choice.compiled.squares(*_given(first), *_given(second), len(found), found)
        return found
    return np.concatenate([_squares(pieces(*both)) for both in _by_turns(first, second)])


def parts(first: Lines, second: Lines) -> tuple[Floats, Ints]:
    """Returns the parts [3, units] of the integral of the squared difference of two polylines from 0 to 1.

    These are the squared difference of their means, that of their standard deviations, and what is left where both
    agree. They are of values that are divided by 2 to a power [units], which is returned too: the largest are near 1
    then, while the squares of 1e200 and of 1e-200 fit no float. Knots come in pairs, as those of a `Curve`.
    """
    power = _power(first[1][:, [0, -1]], second[1][:, [0, -1]])
    if kernel_choice.uses_native():
        found = np.empty((3, len(power)))
        kernel_choice.compiled.parts(*_given(first), *_given(second), len(power), power, found)
        return found, power
    shrunk = [(places, np.ldexp(values, -power[:, None])) for places, values in (first, second)]
    made = [_parts(*_points(pieces(*both))) for both in _by_turns(*shrunk)]
    return np.concatenate(made, axis=1), power


def parts_of_rows(first: Floats, second: Floats) -> tuple[Floats, Ints]:
    """Returns the same of two rows of values of equal weight, which need not be equally many."""
    one, other, share = aligned(first, second)
    power = _power(one[:, [0, -1]], other[:, [0, -1]])
    return _parts(np.ldexp(one, -power[:, None]), np.ldexp(other, -power[:, None]), share), power


def apart(first: Floats, second: Floats) -> Floats:
    """Returns the mean distance [units] of two rows of values of equal weight; NaN of no values."""
    if not (kernel_choice.uses_native() and first.shape[1] and second.shape[1]):
        return _apart(first, second)
    dtype = np.float32 if first.dtype == second.dtype == np.float32 else np.float64
    one, other = (np.ascontiguousarray(values, dtype) for values in (first, second))
    found = np.empty(len(one))
    kernel_choice.compiled.apart(one, one.shape[1], other, other.shape[1], len(one), one.itemsize, found)
    odd = np.flatnonzero(found == np.inf)  # It divides at the end: a sum of the largest numbers is none.
    found[odd] = _apart(first[odd], second[odd])
    return found


def _apart(first: Floats, second: Floats) -> Floats:
    one, other, share = aligned(first, second)
    return np.asarray(np.abs(one - other) @ share)


def aligned(first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns rows of values on the same steps [units, steps], and the widths of these steps [steps]; NaN of none."""
    first, second = first.astype(float), second.astype(float)
    m, n = first.shape[1], second.shape[1]
    if not m or not n:
        undefined = np.full((len(first), 1), np.nan)
        return undefined, undefined, np.ones(1)
    if m == n:
        return first, second, np.full(n, 1 / n)
    # In units of 1/(m n) the ends of both kinds of steps are whole numbers, so that equal ends are equal.
    ends = np.union1d(np.arange(1, m + 1) * n, np.arange(1, n + 1) * m)
    return first[:, (ends - 1) // n], second[:, (ends - 1) // m], np.diff(ends, prepend=0) / (m * n)


def _given(lines: Lines) -> tuple[Floats, Floats, int]:
    """Returns places, values and number of knots as the compiled kernel takes them."""
    places, values = (np.ascontiguousarray(one, float) for one in lines)
    return places, values, places.shape[1]


def _by_turns(first: Lines, second: Lines) -> list[tuple[Lines, Lines]]:
    """Returns both, a few units at a time."""
    turns = [slice(start, start + _AT_ONCE) for start in range(0, max(len(first[0]), 1), _AT_ONCE)]
    return [((first[0][here], first[1][here]), (second[0][here], second[1][here])) for here in turns]


def _squares(found: Pieces) -> Floats:
    return np.asarray((found.width * ((found.first - found.second) ** 2).mean(0)).sum(1))


def _points(found: Pieces) -> tuple[Floats, Floats, Floats]:
    """Returns both functions where Gauss has them [units, points], and the weights of these points."""
    first, second = (np.concatenate(list(at), axis=1) for at in (found.first, found.second))
    return first, second, np.tile(found.width / len(GAUSS), len(GAUSS))


def _power(*ends: Floats) -> Ints:
    """Returns powers of 2 [units] that are as large as the largest of the first and last values [units, 2]."""
    largest = np.max([np.abs(one).max(1) for one in ends], axis=0)
    power = np.frexp(np.where(np.isfinite(largest), largest, 0.0))[1].astype(np.int64)
    return np.maximum(power, -1021)  # A factor of more than 2^1021 would be no number.


@np.errstate(under="ignore")
def _parts(first: Floats, second: Floats, weights: Floats) -> Floats:
    mean_a, mean_b = (first * weights).sum(1), (second * weights).sum(1)
    first, second = first - mean_a[:, None], second - mean_b[:, None]
    std_a, std_b = (np.sqrt((one**2 * weights).sum(1)) for one in (first, second))
    location, scale = (mean_a - mean_b) ** 2, (std_a - std_b) ** 2
    # What remains of centred quantile functions without their difference of scale; below 0 only by rounding.
    centred = ((first - second) ** 2 * weights).sum(1)
    return np.array([location, scale, np.maximum(centred - scale, 0.0)])
