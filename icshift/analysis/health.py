"""Units in trouble: dead, saturated, near-constant, non-finite.

Dead and saturated are properties of an activation function's input, and known only where the recording saw which
activation module reads the site, or the site is such a module itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icshift.analysis.distances import STD_FLOOR
from icshift.distribution import Distribution
from icshift.runs.format import Site

_RECTIFIERS = frozenset({"ReLU", "ReLU6"})

_FLAT_FROM = {"Sigmoid": 4.357, "Tanh": 2.179, "Hardsigmoid": 3.0, "Hardtanh": 1.0}
"""The |input| from which on the slope is below 5 % of the steepest, or zero (the hard ones), by activation function."""

SATURATED_SHARE = 0.95
"""A unit is saturated if so many of its activations lie where the slope is flat."""


@dataclass(frozen=True)
class Health:
    """Numbers of units in trouble, out of `units`; None where it is not known which activation function follows."""

    units: int
    dead: int | None
    saturated: int | None
    near_constant: int
    nonfinite: int


def health(site: Site, distribution: Distribution) -> Health:
    """Returns how many units of a site are in trouble in one window.

    Dead: a rectifier's input was never above 0 (its output always 0). Saturated: see `SATURATED_SHARE`.
    Near-constant: a standard deviation of at most `STD_FLOOR` of the site's median. Non-finite: at least one NaN or
    infinity.
    """
    return Health(
        units=distribution.units,
        dead=_dead(site, distribution),
        saturated=_saturated(site, distribution),
        near_constant=_near_constant(distribution),
        nonfinite=int((distribution.nonfinite > 0).sum()),
    )


def _dead(site: Site, distribution: Distribution) -> int | None:
    if _RECTIFIERS.isdisjoint((*site.feeds, site.type)):
        return None
    return int((distribution.max <= 0).sum())


def _saturated(site: Site, distribution: Distribution) -> int | None:
    limits = [_FLAT_FROM[name] for name in site.feeds if name in _FLAT_FROM]
    if not limits:
        return None
    flat = (np.abs(distribution.values) > min(limits)).mean(1) if distribution.values.shape[1] else np.zeros(0)
    return int((flat >= SATURATED_SHARE).sum())


def _near_constant(distribution: Distribution) -> int:
    known = distribution.std[np.isfinite(distribution.std)]
    if not len(known):
        return 0
    return int((known <= STD_FLOOR * np.median(known)).sum())
