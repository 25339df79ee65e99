"""How a `Distribution` shows itself: counts, and medians over its units, with a histogram of some of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from icshift.card import bars, card, number

if TYPE_CHECKING:
    from icshift.distribution import Distribution

BINS = 32

DRAWN = 256
"""Units whose values are drawn, at most, at even distances: a card must not take longer than a glance."""


def distribution_line(distribution: Distribution) -> str:
    """Returns a distribution in one line."""
    mean, sd = (number(_median(getattr(distribution, name))) for name in ("mean", "std"))
    return f"<Distribution of {_units(distribution)}: n {_n(distribution)}, mean {mean}, sd {sd} (medians over units)>"


def distribution_card(distribution: Distribution) -> str:
    """Returns a distribution as a card for a notebook."""
    low, high = (_outermost(distribution, name) for name in ("min", "max"))
    facts = [
        ("activations a unit", f"{_n(distribution)} (median over units)"),
        ("not finite", f"{int(distribution.nonfinite.sum()):,} in all"),
        ("sampled for quantiles", f"{_count(distribution.sampled)} a unit (median over units)"),
        ("mean, sd", f"{number(_median(distribution.mean))}, {number(_median(distribution.std))} (medians over units)"),
        ("lowest, highest", f"{low}, {high} (of all units)"),
        ("zeros", f"{number(100 * _median(distribution.zero_share))} % (median over units)"),
        ("W1 error of what is kept", f"at most {number(float(np.max(distribution.w1_error, initial=0.0)))}"),
    ]
    units = np.unique(
        np.linspace(0, max(distribution.units - 1, 0), min(distribution.units, DRAWN)).round().astype(int)
    )
    values = distribution.values[units].astype(float)
    values = values[np.isfinite(values)]
    of = "all units" if len(units) == distribution.units else f"{len(units)} of {distribution.units:,} units"
    return card(
        f"Distribution of {_units(distribution)}",
        facts,
        _histogram(values, f"kept values of {of}, each of equal weight"),
    )


def _histogram(values: NDArray[np.floating[Any]], what: str) -> str:
    if not len(values):
        return ""
    counts, edges = np.histogram(values, BINS)
    return bars(counts.tolist(), [f"{number(a)} to {number(b)}" for a, b in pairwise(edges)], what)


def _units(distribution: Distribution) -> str:
    return f"{distribution.units:,} unit{'' if distribution.units == 1 else 's'}"


def _n(distribution: Distribution) -> str:
    return _count(distribution.count)


def _count(counts: NDArray[np.int64]) -> str:
    return f"{int(np.median(counts)):,}" if len(counts) else "–"


def _median(values: NDArray[np.floating[Any]]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _outermost(distribution: Distribution, name: str) -> str:
    values = getattr(distribution, name)
    known = values[np.isfinite(values)]
    return number(float(getattr(known, name)())) if len(known) else "–"
