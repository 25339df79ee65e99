"""The check on the quantile sketch: of a stream whose quantiles are known, within its bounds and without a bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from icshift.distribution import Distribution
from icshift.selfcheck.check import Check, Finding, Setting
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.workspace import Workspace

Floats = NDArray[np.float64]

SAMPLES, UNITS = 20_000, 4
STREAMS = {True: 24, False: 96}
"""Streams of values that are sketched, by whether it is quick."""

PROBABILITIES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)

NORMAL, EXPONENTIAL = stats.norm(), stats.expon()

LARGEST_T = 5.0
"""Standard errors that the mean error may be from 0: beyond it by chance in less than 1 of 10,000 runs."""

NEGLIGIBLE = 2e-5
"""A mean error of up to so many sd is rounding, whatever its standard error is."""


@dataclass(frozen=True, eq=False)
class Sketched:
    """What the sketches of a distribution were off, all its quantiles being known.

    `ranks` [streams, units, probabilities] are by how much the ranks of quantiles are off, over the bound on that;
    `distance` [streams, units] is W1 over its bound, at most 1 if the bound holds; `mean_error` [streams] is the error
    of the mean of the kept values, in sd, positive where they are too high.
    """

    ranks: Floats
    distance: Floats
    mean_error: Floats

    @property
    def bias(self) -> tuple[float, float]:
        """The mean error over streams, in sd, and its standard error."""
        return float(self.mean_error.mean()), float(self.mean_error.std(ddof=1) / np.sqrt(len(self.mean_error)))

    @property
    def unbiased(self) -> bool:
        """Whether the mean error is nothing beyond chance."""
        mean, error = self.bias
        return bool(abs(mean) <= max(LARGEST_T * error, NEGLIGIBLE))


def sketched(distribution: Any, setting: Setting) -> Sketched:
    """Sketches streams of a SciPy distribution, all its quantiles at equal steps, each unit's in an order of its own.

    So nothing is off for the sake of sampling: what is off is the sketch.
    """
    exact = distribution.ppf((np.arange(SAMPLES) + 0.5) / SAMPLES)
    random = np.random.default_rng([setting.seed, 7])
    ranks, distance, mean_error = [], [], []
    for stream in range(STREAMS[setting.quick]):
        values = random.permuted(np.broadcast_to(exact, (UNITS, SAMPLES)), axis=1)
        found = _distribution(values, [setting.seed, stream])
        quantiles = found.quantile(PROBABILITIES)
        off = np.abs(distribution.cdf(quantiles) - PROBABILITIES)
        ranks.append(off / found.rank_error)
        width = found.values.shape[1]
        places = (np.arange(SAMPLES) * width) // SAMPLES
        distance.append(np.abs(found.values[:, places] - exact).mean(1) / found.w1_error)
        mean_error.append(float((found.values.mean(1) - exact.mean()).mean() / exact.std()))
    return Sketched(np.array(ranks), np.array(distance), np.array(mean_error))


def _distribution(values: Floats, seed: list[int]) -> Distribution:
    accumulator = Accumulator(
        len(values), np.inf, np.float64, lambda: np.random.default_rng(seed), Workspace(), blocks=False
    )
    for step, part in enumerate(np.array_split(values, 20, axis=1)):
        accumulator.observe(torch.from_numpy(np.ascontiguousarray(part.T)), None)
        accumulator.tick(step)
    return distribution_of(accumulator.ended())


def judge(normal: Sketched, exponential: Sketched) -> Finding:
    """Passes where all quantiles and distances are within their bounds, and means are not off to one side."""
    both = normal, exponential
    ranks = float(np.max([one.ranks.max() for one in both]))
    distance = float(np.max([one.distance.max() for one in both]))
    (bias, error), (other, other_error) = normal.bias, exponential.bias
    return Finding(
        bool(ranks <= 1 and distance <= 1 and normal.unbiased and exponential.unbiased),
        f"largest error over its bound: ranks {ranks:.2f}, W1 {distance:.2f}; mean error {bias:.1e} ± {error:.1e} sd "
        f"normal, {other:.1e} ± {other_error:.1e} sd exponential (± standard error, n = {len(normal.mean_error)})",
        f"{len(normal.mean_error)} streams of n = {SAMPLES:,} values of each distribution, {UNITS} units; quantiles "
        f"{PROBABILITIES[0]} to {PROBABILITIES[-1]} by SciPy",
        {
            "rank_error_over_bound": ranks,
            "w1_over_bound": distance,
            "bias_normal_sd": bias,
            "bias_normal_standard_error": error,
            "bias_exponential_sd": other,
            "bias_exponential_standard_error": other_error,
        },
    )


CHECKS = (
    Check(
        "sketch",
        "Quantiles of long streams are within the stated bounds, and the sketch leans to neither side",
        "Karnin, Lang & Liberty 2016",
        f"ranks and W1 within their bounds; mean error within {LARGEST_T:g} standard errors of 0",
        lambda setting: judge(sketched(NORMAL, setting), sketched(EXPONENTIAL, setting)),
    ),
)
