"""Measures that compare the same examples in two windows: how far each went, and how they lie to one another.

All of them compare the examples of a probe (`Distribution.examples`), row by row, and are exact on these rows: there
is no sketch and no sampling noise between the windows. Of a population that the n rows were drawn from, the result is
an estimate. A row of which a unit is not finite in either window is left out for that unit and, in measures of a whole
site, altogether. Where there are no examples, or not equally many (another probe), the result is NaN.

Measures of a whole site give one number [1]. They answer another question than drift: a network may drift less from
window to window and yet change more in how examples lie to one another (linear CKA), or the other way round.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from icshift.distribution import Distribution, Floats, Ints

PROJECTIONS = 256
"""Number of random directions of `sliced_w2`; the directions depend only on the number of units."""

_SEED = 20150211

_ROUNDING = 1e-12
"""Rows that differ by at most this share of their size count as the same."""


def displacement(a: Distribution, b: Distribution) -> Floats:
    """Mean |b_i - a_i| over examples [units]; at least the Wasserstein-1 distance of the same rows."""
    first, second = _each(a, b)
    return _mean(np.abs(second - first))


def marginal_share(a: Distribution, b: Distribution) -> Floats:
    """Wasserstein-1 of the examples over their `displacement` [units], 0 to 1.

    Near 1 the distribution as a whole moved; near 0 examples swapped places and the distribution stayed, which no
    measure of one unit's distribution can see. NaN where no example changed: a share of nothing.
    """
    first, second = _each(a, b)
    # What is left out is left out of both, and is sorted to the end of both.
    distance, w1 = displacement(a, b), _mean(np.abs(np.sort(second, axis=1) - np.sort(first, axis=1)))
    return np.where(distance > 0, np.minimum(w1 / np.where(distance > 0, distance, 1.0), 1.0), np.nan)


def sliced_w2(a: Distribution, b: Distribution) -> Floats:
    """Sliced Wasserstein-2 times the root of the number of units d [1] (Rabin et al. 2012; Bonneel et al. 2015).

    The root of d times the mean, over directions, of the squared W2 of the projected rows: a pure shift gives its
    length, whatever d. What the change of the mean adds is known exactly, so that only the rest is left to the
    projections. Never more than the root mean square distance that the rows moved.
    """
    shift, rest = _sliced(a, b)
    return np.sqrt([shift + np.mean(rest)])


def sliced_w2_error(a: Distribution, b: Distribution) -> Floats:
    """Two standard errors of `sliced_w2` from its choice of directions [1]."""
    shift, rest = _sliced(a, b)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The root has the derivative 1 / (2 root).
        error = np.std(rest, ddof=1) / np.sqrt(len(rest)) / np.sqrt(shift + np.mean(rest))
    return np.array([0.0 if np.all(rest == 0) else error])


def cka_distance(a: Distribution, b: Distribution) -> Floats:
    """1 - linear CKA of the examples [1] (Kornblith et al. 2019), columns centred; NaN if either has no spread.

    0 where the rows lie to one another as before, whatever rotation and whatever one scale for all units came over
    them: it sees no drift that moves all examples alike. It is biased: of n rows of d units that have nothing to do
    with each other (normal ones) it shows n / (n + d), not 1, so it says little where d is much larger than n. A few
    outlying examples can decide it. Computed as half the squared distance of the two Gram matrices of length 1, which
    is the same number and 0 to the last bit if nothing changed.
    """
    first, second = _complete(a, b)
    return np.array([np.sum((_gram(first) - _gram(second)) ** 2) / 2])


def cka_bias(rows: int, units: int) -> str:
    """Returns a sentence with the value that `cka_distance` shows for `rows` unrelated examples of `units` units."""
    unrelated = rows / (rows + units)
    return (
        f"Biased: {rows:,} rows that have nothing to do with each other show about {unrelated:.2f} of 1 "
        f"in {units:,} units (the most here)."
    )


def rows_compared(a: Distribution, b: Distribution) -> Ints:
    """Returns the number of examples [units] that are finite in both windows."""
    return np.asarray(np.isfinite(_each(a, b)[0]).sum(1))


def complete_rows(a: Distribution, b: Distribution) -> Ints:
    """Returns the number of examples [1] of which every unit is finite in both windows."""
    return np.array([len(_complete(a, b)[0])])


def have_same_examples(a: Distribution, b: Distribution) -> bool:
    """Returns whether both have examples, and equally many."""
    return a.examples is not None and b.examples is not None and a.examples.shape == b.examples.shape


def _each(a: Distribution, b: Distribution) -> tuple[Floats, Floats]:
    """Returns the examples [units, rows] of both; NaN in both where either is not finite."""
    if not have_same_examples(a, b):
        return (np.empty((a.units, 0)),) * 2
    assert a.examples is not None
    assert b.examples is not None
    known = np.isfinite(a.examples) & np.isfinite(b.examples)
    return np.where(known, a.examples.astype(float), np.nan), np.where(known, b.examples.astype(float), np.nan)


def _complete(a: Distribution, b: Distribution) -> tuple[Floats, Floats]:
    """Returns the examples [rows, units] of both that are finite throughout."""
    first, second = _each(a, b)
    known = np.isfinite(first).all(0)
    return first.T[known], second.T[known]


def _mean(values: Floats) -> Floats:
    """Returns the mean [units] over the finite values of each unit [units, rows]; NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@np.errstate(over="ignore", invalid="ignore")
def _sliced(a: Distribution, b: Distribution) -> tuple[float, Floats]:
    """Returns the squared change of the mean, and d times the squared W2 of centred rows by direction [projections]."""
    first, second = _complete(a, b)
    if not len(first):
        return np.nan, np.full(PROJECTIONS, np.nan)
    shift = second.mean(0) - first.mean(0)
    units = first.shape[1]
    rest = projected_w2_squared(first - first.mean(0), second - second.mean(0), directions(units))
    return float(shift @ shift), units * rest


@np.errstate(over="ignore", invalid="ignore")
def projected_w2_squared(first: Floats, second: Floats, onto: Floats) -> Floats:
    """Returns the squared W2 [projections] of rows [rows, units] projected onto directions [units, projections]."""
    gaps = np.sort(second @ onto, axis=0) - np.sort(first @ onto, axis=0)
    return np.asarray(np.mean(gaps**2, axis=0))


@lru_cache(maxsize=8)
def directions(units: int) -> Floats:
    """Returns directions of length 1 [units, `PROJECTIONS`], uniform on the sphere, the same ones at every call."""
    drawn = np.random.default_rng([_SEED, units]).normal(size=(units, PROJECTIONS))
    drawn /= np.linalg.norm(drawn, axis=0)
    drawn.flags.writeable = False
    return drawn


def _gram(rows: Floats) -> Floats:
    """Returns the inner products of centred rows [rows, rows], scaled to norm 1; one NaN [1, 1] if no rows differ."""
    centred = rows - rows.mean(0) if len(rows) else rows
    largest = np.abs(centred).max(initial=0.0)
    if not largest > _ROUNDING * np.abs(rows).max(initial=0.0):
        return np.full((1, 1), np.nan)
    gram = (centred / largest) @ (centred / largest).T
    return np.asarray(gram / np.linalg.norm(gram))
