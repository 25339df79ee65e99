"""The check on the floor: the noise that it tells of two windows is that of theory, and that of the windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from icshift.distribution import Distribution
from icshift.selfcheck.check import Check, Finding
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.workspace import Workspace

Floats = NDArray[np.float64]

STEPS, EXAMPLES, UNITS, PAIRS = 32, 32, 100, 12

BETWEEN = (0.8, 1.15)
"""Floor over theory: eight slices of the quantile function show some 10 % less than all of it."""

THEORY = 0.08
"""Relative difference of measured and expected noise that is allowed: sampling, and finite n."""


@dataclass(frozen=True)
class Noise:
    """Root mean squares over units, in sd: of the floor of W1, of W1 itself, and what theory expects of both."""

    floor: float
    measured: float
    expected: float


def root_mean_square() -> float:
    """The root of E W1² of two samples of the standard normal distribution, times sqrt(1/n + 1/m).

    W1 is the integral of |B(F(x))| for a Brownian bridge B. The product of two normal variables with sd s, t and
    correlation r has E|XY| = 2 s t (sqrt(1 - r²) + r arcsin r) / pi, and B(F(x)), B(F(y)) have the correlation
    sqrt(F(x) (1 - F(y)) / (F(y) (1 - F(x)))) for x < y.
    """
    x = np.linspace(-6, 6, 1201)
    below = stats.norm.cdf(x)
    above = stats.norm.sf(x)
    spread = np.sqrt(below * above)
    odds = np.sqrt(below / above)
    r = np.minimum(odds[:, None], odds) / np.maximum(odds[:, None], odds)
    products = 2 / np.pi * np.outer(spread, spread) * (np.sqrt(1 - r**2) + r * np.arcsin(r))
    return float(np.sqrt(products.sum()) * (x[1] - x[0]))


def measure(seed: int) -> Noise:
    """Pairs of windows of independent normal values: their floors, and their drifts, which are noise alone."""
    random = np.random.default_rng([seed, 8])
    metric = METRICS["w1"]
    floors, drifts = [], []
    for _ in range(PAIRS):
        a, b = (_window(random) for _ in range(2))
        floors.append(floor(metric, a, b))
        drifts.append(metric.function(a, b))
    n = STEPS * EXAMPLES
    of_floor, of_drift = (float(np.sqrt(np.mean(np.square(values)))) for values in (floors, drifts))
    return Noise(of_floor, of_drift, root_mean_square() * float(np.sqrt(2 / n)))


def _window(random: np.random.Generator) -> Distribution:
    accumulator = Accumulator(UNITS, np.inf, np.float64, lambda: random, Workspace())
    for step in range(STEPS):
        accumulator.observe(torch.from_numpy(random.normal(size=(EXAMPLES, UNITS))), None)
        accumulator.tick(step)
    return distribution_of(accumulator.ended())


def judge(noise: Noise) -> Finding:
    """Passes where the drift of nothing but noise is that of theory, and the floor is near to it."""
    floor_ratio, ratio = noise.floor / noise.expected, noise.measured / noise.expected
    return Finding(
        bool(BETWEEN[0] <= floor_ratio <= BETWEEN[1] and abs(ratio - 1) <= THEORY),
        f"floor {noise.floor:.4f} sd, drift {noise.measured:.4f} sd, theory {noise.expected:.4f} sd (root mean squares "
        f"over n = {PAIRS * UNITS} units)",
        f"{PAIRS} pairs of windows of {STEPS} steps of {EXAMPLES} independent normal values, {UNITS} units",
        {"floor_over_theory": floor_ratio, "drift_over_theory": ratio},
    )


CHECKS = (
    Check(
        "floor",
        "The floor of W1 is the noise of windows in which nothing moved",
        "Brownian bridge (Bobkov & Ledoux 2019)",
        f"floor / theory from {BETWEEN[0]} to {BETWEEN[1]}; drift / theory within {100 * THEORY:g} % of 1",
        lambda setting: judge(measure(setting.seed)),
    ),
)
