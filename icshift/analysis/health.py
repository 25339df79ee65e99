"""Units in trouble: dead, saturated, near-constant, non-finite.

Dead and saturated are properties of what reads a site's output, and known only where the recording saw that. A unit is
in trouble where nothing that reads it lets anything through: beside an activation function that is silent, another
operation, as the sum of a residual block, may still read it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.distances import STD_FLOOR
from icshift.distribution import Distribution
from icshift.runs.format import Site

_RECTIFIERS = frozenset({"ReLU", "ReLU6"})

_FLAT_FROM = {"Sigmoid": 4.357, "Tanh": 2.179, "Hardsigmoid": 3.0, "Hardtanh": 1.0}
"""The |input| from which on the slope is below 5 % of the steepest, or zero (the hard ones), by activation function."""

_ALWAYS_OPEN = frozenset(
    (
        *("LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Softsign"),
        *("LogSigmoid", "Hardswish", "Softmax", "LogSoftmax", "Softmin", "Tanhshrink", "GLU"),
    )
)
"""Activation functions of PyTorch for which neither is defined: they let something through, on one side at least."""

SATURATED_SHARE = 0.95
"""A unit is saturated if so many of its activations lie where the slope is flat."""

ROUNDING = 1e-5
"""A standard deviation of at most this share of |mean| is rounding: sums in float32 are exact to about 1e-6."""


@dataclass(frozen=True)
class Health:
    """Numbers of units in trouble, out of `units`; `dead` and `saturated` are None where they do not apply.

    They are None too where it is not known what reads the site: then `unknown` says why, and is empty otherwise. With
    `no_data` nothing came to the site, and all are None.
    """

    units: int
    dead: int | None
    saturated: int | None
    near_constant: int | None
    nonfinite: int | None
    unknown: str
    no_data: bool = False


def health(site: Site, distribution: Distribution, usual: float = 0.0) -> Health:
    """Returns how many units of a site are in trouble in one window.

    Dead: all that reads it are rectifiers, and their input was never above 0 (their output always 0). Saturated: see
    `SATURATED_SHARE`. Near-constant: a standard deviation of at most `STD_FLOOR` of the site's median in this window or
    in an earlier one (`usual` is the largest `typical_std` of those), or no more than rounding of the mean: a site
    whose units all collapse has no spread of its own to compare with. Non-finite: at least one NaN or infinity.
    """
    readers = _known_readers(site)
    rectified = site.type in _RECTIFIERS or (_all_in(_RECTIFIERS, readers) and not site.others)
    flattened = _all_in(_FLAT_FROM, readers) and not site.others
    return Health(
        units=distribution.units,
        dead=int((distribution.max <= 0).sum()) if rectified else None,
        saturated=_saturated(readers, distribution) if flattened else None,
        near_constant=_near_constant(distribution, usual),
        nonfinite=int((distribution.nonfinite > 0).sum()),
        unknown=unknown(site),
    )


def without_data(site: Site) -> Health:
    """Returns what is known of the units of a site in a window in which it got no row."""
    units = site.units if site.kept is None else len(site.kept)
    return Health(units, dead=None, saturated=None, near_constant=None, nonfinite=None, unknown="", no_data=True)


def unknown(site: Site) -> str:
    """Returns why it is not known whether units of a site are dead or saturated; empty where that is known.

    One activation function that is known settles it, whatever else may read the site.
    """
    return "" if _known_readers(site) or site.type in _RECTIFIERS else site.unseen


def silenced_by(site: Site, quantity: str) -> list[str]:
    """Returns the readers of a site that could make its units `dead` or `saturated`, if they were all that read it."""
    kind: Container[str] = _RECTIFIERS if quantity == "dead" else _FLAT_FROM
    return [name for name in site.feeds if name in kind]


def typical_std(distribution: Distribution) -> float:
    """Returns the median standard deviation over the units of a site, 0 where none is known."""
    typical = over_units.median(distribution.std)
    return 0.0 if np.isnan(typical) else typical


def _known_readers(site: Site) -> list[str]:
    return [name for name in site.feeds if name in _RECTIFIERS or name in _FLAT_FROM or name in _ALWAYS_OPEN]


def _all_in(kind: Container[str], readers: Sequence[str]) -> bool:
    return bool(readers) and all(name in kind for name in readers)


def _saturated(readers: Sequence[str], distribution: Distribution) -> int:
    limit = max(_FLAT_FROM[name] for name in readers)
    flat = (np.abs(distribution.values) > limit).mean(1) if distribution.values.shape[1] else np.zeros(0)
    return int((flat >= SATURATED_SHARE).sum())


def _near_constant(distribution: Distribution, usual: float) -> int:
    least = STD_FLOOR * max(typical_std(distribution), usual)
    return int((distribution.std <= np.maximum(least, ROUNDING * np.abs(distribution.mean))).sum())
