"""Distance between the statistics that a batch normalisation layer uses and those of data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icshift.analysis.distances import STD_FLOOR
from icshift.distribution import Floats

MeanAndVariance = tuple[Floats, Floats, int]
"""Means [units], variances [units], and the number of activations a unit that they were computed from."""


@dataclass(frozen=True)
class Distance:
    """How far two sets of statistics of a layer are apart, as `source_normalised` defines it.

    `value` is the distance in sd of the source and `floor` the distance that sampling alone would show; either is NaN
    where it cannot be known. `n` is the number of activations a unit of the data. `units` is the number of units that
    were counted: near-constant units of the source are left out, since in sd of nearly nothing everything is far.
    """

    value: float
    floor: float
    n: int
    units: int


UNKNOWN = Distance(np.nan, np.nan, 0, 0)
"""The distance where there is nothing to compare."""


def source_normalised(source: tuple[Floats, Floats], target: tuple[Floats, Floats]) -> float:
    """Returns the Wasserstein-2 distance of diagonal normal distributions, in sd of the source, root mean over units.

    Each is (mean, sd) [units], sd including the layer's eps:
    sqrt(mean_j [((mu_t - mu_s) / sd_s)^2 + (1 - sd_t / sd_s)^2]), after Schneider et al. (2020).
    """
    (mean, sd), (other_mean, other_sd) = source, target
    squares = ((other_mean - mean) / sd) ** 2 + (1 - other_sd / sd) ** 2
    return float(np.sqrt(np.mean(squares)))


def from_running(running: MeanAndVariance, data: Sequence[MeanAndVariance], eps: float) -> Distance:
    """Returns the distance of the data's statistics from the running ones, in sd of the running ones.

    `data` are the statistics of the halves of the data; `UNKNOWN` is returned where there are none.
    """
    return _distance(running, _together(data), data, eps, source=running) if data else UNKNOWN


def staleness(running: MeanAndVariance, precise: Sequence[MeanAndVariance], eps: float) -> Distance:
    """Returns the distance of the running statistics from precise ones, in sd of the precise ones.

    `precise` are those of the halves of the data; `UNKNOWN` is returned where there are none.
    """
    return _distance(_together(precise), running, precise, eps, source=_together(precise)) if precise else UNKNOWN


def _distance(
    first: MeanAndVariance,
    second: MeanAndVariance,
    halves: Sequence[MeanAndVariance],
    eps: float,
    *,
    source: MeanAndVariance,
) -> Distance:
    """Returns the distance of two statistics, and its floor from the halves of the data.

    The noise of the whole is to the distance of its halves as sqrt(1 / n) to sqrt(1 / n_odd + 1 / n_even).
    """
    n = sum(half[2] for half in halves)
    spread = _sd(source, eps)
    kept = np.flatnonzero(spread > STD_FLOOR * np.median(spread))
    if not n or not len(kept):
        return UNKNOWN
    pair = [(statistics[0][kept], _sd(statistics, eps)[kept]) for statistics in (first, second)]
    floor = np.nan
    if len(halves) == 2 and all(half[2] for half in halves):
        (odd, even), scale = halves, np.sqrt(1 / n / (1 / halves[0][2] + 1 / halves[1][2]))
        apart = [(odd[0] - even[0]) / spread, (_sd(odd, eps) - _sd(even, eps)) / spread]
        floor = float(scale * np.sqrt(np.mean(np.square(apart)[:, kept].sum(0))))
    return Distance(source_normalised(*pair), floor, n, len(kept))


def _sd(statistics: MeanAndVariance, eps: float) -> Floats:
    return np.sqrt(statistics[1] + eps)


def _together(parts: Sequence[MeanAndVariance]) -> MeanAndVariance:
    """Returns the statistics of all parts together (Chan, Golub & LeVeque 1979)."""
    n = sum(part[2] for part in parts)
    shares = [part[2] / max(n, 1) for part in parts]
    mean = np.sum([share * part[0] for share, part in zip(shares, parts, strict=True)], axis=0)
    spread = [share * (part[1] + (part[0] - mean) ** 2) for share, part in zip(shares, parts, strict=True)]
    return mean, np.sum(spread, axis=0), n
