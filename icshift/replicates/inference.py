"""What two groups of training runs say about the ratio of a quantity: an interval and a test.

The replicate is the training run: another seed has other initial weights and another order of examples, and differs by
many times the error that the units of one run suggest. Groups of one size are pairs, by position: run i of both has the
same seed. All is computed on logarithms, since ratios multiply.

Pairs: Student's interval of the mean log ratio, and Fisher's sign-flip test. If the two methods do not differ, a log
ratio and its negative are equally likely in every pair, so that all 2^n patterns of signs are. Groups of different
sizes: Welch's interval of the difference of means, and the permutation test, over all ways to split the runs.

Several rows of one table are tested together. One pattern is applied to all rows at once, and each row's p-value is
adjusted by the largest statistic among the rows that are not yet decided (Westfall & Young 1993, step-down maxT): among
rows without a difference, any is called one with the stated probability at most, however the rows depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb, sqrt
from typing import Any

import numpy as np

from icshift.distribution import Floats

LEAST = 5
"""Runs that each group must have for a statement: of 4 pairs, even the clearest has a p-value of 0.125."""

CONFIDENCE = 0.95
"""Share of intervals that hold the true ratio."""

PATTERNS = 20_000
"""Patterns that are gone through one by one; where there are more, so many are drawn."""

_ROUNDING = 1e-9
"""Patterns whose statistics differ by less, relative to them, count as equal."""


@dataclass(frozen=True)
class Design:
    """Two groups of `a` and `b` runs; they are pairs where they are of one size."""

    a: int
    b: int

    @property
    def paired(self) -> bool:
        """Whether run i of one group belongs to run i of the other."""
        return self.a == self.b

    @property
    def enough(self) -> bool:
        """Whether there are runs enough for a statement about the methods."""
        return min(self.a, self.b) >= LEAST

    @property
    def exact(self) -> bool:
        """Whether the tests go through all patterns."""
        return self._ways <= PATTERNS

    @property
    def patterns(self) -> int:
        """The number of patterns that a test compares, of two opposite ones only one, which say the same."""
        return min(self._ways, PATTERNS)

    @property
    def least_p(self) -> float:
        """The smallest p-value that so many runs can give."""
        return 1 / self.patterns

    @property
    def _ways(self) -> int:
        return int(2 ** (self.a - 1)) if self.paired else comb(self.a + self.b, self.a)


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the runs say about ratios [rows] of group A to group B.

    `ratio` is the ratio of geometric means, `low` and `high` are the ends of its interval. `p` is two-sided, `adjusted`
    is p for all rows together. All are NaN for rows with a value that has no logarithm, and in too small groups.
    """

    ratio: Floats
    low: Floats
    high: Floats
    p: Floats
    adjusted: Floats


def evidence(design: Design, a: Floats, b: Floats) -> Evidence:
    """Returns what values a [rows, runs of A] and b [rows, runs of B] say, all rows as one family of tests."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.concatenate([a, b], axis=1))
    known = np.isfinite(logs).all(1) & design.enough
    found = np.full((5, len(logs)), np.nan)
    if known.any():
        first, second = logs[known, : design.a], logs[known, design.a :]
        middle, margin = _interval(design, first, second)
        found[:3, known] = np.exp([middle, middle - margin, middle + margin])
        statistics = _statistics(design, first, second)
        found[3, known] = (statistics >= statistics[0] * (1 - _ROUNDING)).mean(0)
        found[4, known] = _step_down(statistics)
    return Evidence(*found)


def _interval(design: Design, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Returns mean and half width [rows] of the interval of the difference of logarithms."""
    if design.paired:
        difference = a - b
        error: Floats = difference.std(1, ddof=1) / sqrt(design.a)
        return difference.mean(1), _factor(design.a - 1) * error
    parts = [group.var(1, ddof=1) / group.shape[1] for group in (a, b)]
    variance = parts[0] + parts[1]
    # Welch & Satterthwaite: the degrees of freedom of a sum of two estimated variances; any where both are 0.
    spread = parts[0] ** 2 / (design.a - 1) + parts[1] ** 2 / (design.b - 1)
    freedom = np.where(spread > 0, variance**2 / np.where(spread > 0, spread, 1), 1)
    return a.mean(1) - b.mean(1), _factor(freedom) * np.sqrt(variance)


def _factor(freedom: Any) -> Any:
    """Returns how many standard errors an interval reaches to either side."""
    from scipy.stats import t as student  # A second, which every page and figure would wait for.

    return student.ppf((1 + CONFIDENCE) / 2, freedom)


def _statistics(design: Design, a: Floats, b: Floats) -> Floats:
    """Returns |difference of groups| over its size under the patterns [patterns, rows]; the first is what was measured.

    The size is the same for all patterns, so that this orders them as Student's t does.
    """
    if design.paired:
        values, weights = (a - b).T, _signs(design)
    else:
        together = np.concatenate([a, b], axis=1)
        values, weights = (together - together.mean(1, keepdims=True)).T, _splits(design)
    size = np.sqrt(np.square(values).sum(0))
    # Differences that are rounding alone are none.
    values = np.where(size > 1e-12, values / np.where(size > 0, size, 1), 0)
    return np.abs(weights @ values)


def _signs(design: Design) -> Floats:
    """Returns patterns of signs [patterns, pairs], no two of them opposite; the first has no minus."""
    n = design.a
    if design.exact:
        bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    else:
        bits = np.random.default_rng(0).integers(0, 2, (design.patterns, n))
        bits[0] = 0
    return np.asarray(1.0 - 2 * bits)


def _splits(design: Design) -> Floats:
    """Returns weights [patterns, runs] of the difference of means, for ways to split the runs; the first as it was."""
    total = design.a + design.b
    if design.exact:
        chosen = np.array(list(combinations(range(total), design.a)))
    else:
        random = np.random.default_rng(0)
        chosen = np.argsort(random.random((design.patterns, total)), axis=1)[:, : design.a]
        chosen[0] = np.arange(design.a)
    weights = np.full((len(chosen), total), -1 / design.b)
    np.put_along_axis(weights, chosen, 1 / design.a, axis=1)
    return weights


def _step_down(statistics: Floats) -> Floats:
    """Returns p-values [rows] adjusted for all rows: from the largest on, each against the rows that are left."""
    order = np.argsort(-statistics[0], kind="stable")
    largest = np.maximum.accumulate(statistics[:, order[::-1]], axis=1)[:, ::-1]
    p = np.maximum.accumulate((largest >= largest[0] * (1 - _ROUNDING)).mean(0))
    adjusted = np.empty(len(p))
    adjusted[order] = p
    return adjusted
