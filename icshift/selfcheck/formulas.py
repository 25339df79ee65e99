"""Checks of distances and condition numbers against closed forms and other implementations; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import sqrtm
from torch import Tensor, nn

from icshift.analysis.metrics import METRICS, Metric
from icshift.analysis.staleness import source_normalised
from icshift.distribution import Distribution
from icshift.gradients.hessian import Spectrum, hessian
from icshift.gradients.objective import Objective
from icshift.selfcheck.check import Check, Compared, Finding, power, worst_of
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.workspace import Workspace

Floats = NDArray[np.float64]

CONDITION_TOLERANCE, CLOSED_TOLERANCE, SAME = 1e-4, 0.02, 1e-6
"""Relative errors that are allowed: of condition numbers, of closed forms by samples, and of the same formula."""

NULL = 1.288
"""E W1 of two samples of one normal distribution is NULL sd sqrt(1/n + 1/m): sqrt(2/pi) times the integral of
sqrt(F (1 - F)), from the Brownian bridge."""

SAMPLES, UNITS, NULL_UNITS = (512, 4096), 200, 20_000


def two_features() -> dict[str, Compared]:
    """Condition numbers, and some largest eigenvalues, of the Hessian of a model with two weights, MSE / 2.

    The Hessian is E xx', which follows from the moments of the inputs.
    """
    far = _inputs((5, 5), (1, 10), 0.0)
    cases = {
        "sd 1 and 10": (_inputs((0, 0), (1, 10), 0.0), 100),
        "sd 1 and 100": (_inputs((0, 0), (1, 100), 0.0), 10_000),
        "means 5, sd 1": (_inputs((5, 5), (1, 1), 0.0), 51),
        "means 5, sd 1 and 10, standardised": ((far - far.mean(0)) / far.std(0), 1),
        "correlation 0.9": (_inputs((0, 0), (1, 1), 0.9), 19),
    }
    spectra = {name: _spectrum(torch.from_numpy(inputs)) for name, (inputs, _) in cases.items()}
    largest = {"sd 1 and 10": 100, "correlation 0.9": 1.9}
    return {
        **{f"kappa, {name}": Compared(spectra[name].condition, expected) for name, (_, expected) in cases.items()},
        **{f"lambda, {name}": Compared(float(spectra[name].eigenvalues[0]), at) for name, at in largest.items()},
    }


def _inputs(mean: tuple[float, float], sd: tuple[float, float], correlation: float) -> Floats:
    """Inputs [1000, 2] with exactly these moments: normal draws are whitened first."""
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values -= values.mean(0)
    white = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values.T, bias=True))).T
    factor = np.linalg.cholesky(np.array([[1, correlation], [correlation, 1]]))
    return np.asarray(np.array(mean) + np.array(sd) * (white @ factor.T))


def _spectrum(inputs: Tensor) -> Spectrum:
    """The ends of the spectrum of a linear model's Hessian, mean squared error / 2, by `icshift.hessian`."""
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    target = inputs.sum(1, keepdim=True)
    return hessian(Objective(model, lambda: (model(inputs) - target).square().mean() / 2), top=2)


def judge_conditioning(found: Mapping[str, Compared]) -> Finding:
    """Passes where every condition number and eigenvalue is the one that follows from the inputs' moments."""
    _, error = worst_of(found)
    return Finding(
        error <= CONDITION_TOLERANCE,
        f"{'; '.join(f'{name}: {one.found:,.2f}' for name, one in found.items())}; largest relative error "
        f"{power(error)}",
        "5 sets of n = 1,000 inputs, Hessian by Lanczos on products",
        {name: one.found for name, one in found.items()},
    )


def closed_forms(seed: int) -> dict[str, Compared]:
    """Means over units of distances between samples of normal distributions, and their closed forms."""
    random = np.random.default_rng([seed, 1])
    found: dict[str, Compared] = {}
    for n in SAMPLES:
        standard, shifted, wide, both = (
            _distribution(random.normal(mean, sd, (UNITS, n))) for mean, sd in ((0, 1), (1, 1), (0, 3), (2, 1.5))
        )
        found |= {
            f"W1 shift, n = {n}": _mean("w1", standard, shifted, 1.0),
            f"W2 shift, n = {n}": _mean("w2", standard, shifted, 1.0),
            f"W1 scale, n = {n}": _mean("w1", standard, wide, 2 * np.sqrt(2 / np.pi)),
            f"W2 scale, n = {n}": _mean("w2", standard, wide, 2.0),
            f"W2 shift and scale, n = {n}": _mean("w2", standard, both, np.sqrt(4 + 0.25)),
        }
    one, other = (_distribution(np.full((1, 600), value)) for value in (1.0, 3.5))
    return {**found, "W1 points": _mean("w1", one, other, 2.5), "W2 points": _mean("w2", one, other, 2.5)}


def null_constant(seed: int) -> Compared:
    """The factor of W1's noise, from pairs of samples of n = 512 of one normal distribution, and `NULL`."""
    random, n, part = np.random.default_rng([seed, 2]), SAMPLES[0], 2000
    drifts = [
        METRICS["w1_sd"].function(
            _distribution(random.normal(size=(part, n))), _distribution(random.normal(size=(part, n)))
        )
        for _ in range(NULL_UNITS // part)
    ]
    return Compared(float(np.mean(drifts)) / np.sqrt(2 / n), NULL)


def against_scipy(seed: int) -> float:
    """The largest relative error of W1, energy distance and KS on random samples of unequal size, ties included."""
    random = np.random.default_rng([seed, 3])
    first = [random.normal(size=300), random.lognormal(size=300), np.maximum(random.normal(size=300), 0)]
    second = [random.normal(0.3, 2, 200), random.lognormal(0.2, 1, 200), np.maximum(random.normal(0.5, 1, 200), 0)]
    a, b = _distribution(np.array(first)), _distribution(np.array(second))
    oracles = {
        "w1": stats.wasserstein_distance,
        "energy": stats.energy_distance,
        "ks": lambda x, y: stats.ks_2samp(x, y, method="asymp").statistic,
    }
    errors = [
        Compared(value, oracle(x, y)).error
        for name, oracle in oracles.items()
        for value, x, y in zip(METRICS[name].function(a, b), first, second, strict=True)
    ]
    return float(np.max(errors))


def judge_estimators(closed: Mapping[str, Compared], null: Compared, scipy_error: float) -> Finding:
    """Passes where closed forms and the factor of the noise hold to `CLOSED_TOLERANCE`, SciPy's values to `SAME`."""
    worst, error = worst_of(closed)
    return Finding(
        max(error, null.error) <= CLOSED_TOLERANCE and scipy_error <= SAME,
        f"largest error of {len(closed)} closed forms {100 * error:.2f} % ({worst}); constant of the noise "
        f"{null.found:.3f}; error against SciPy {power(scipy_error)}",
        f"{UNITS} units of n = {' and '.join(f'{n:,}' for n in SAMPLES)}; noise: {NULL_UNITS:,} units of n = m = "
        f"{SAMPLES[0]}; SciPy: 3 units of n = 300, m = 200",
        {"closed_form_error": error, "null_constant": null.found, "scipy_error": scipy_error},
    )


def gaussians(seed: int) -> tuple[float, float]:
    """The largest relative errors of Gaussian W2 and of source-normalised W~, against the general formulas.

    Ours are those of diagonal covariances. The general ones get the same two distributions turned by a random rotation,
    which changes no distance, so that their matrices are full.
    """
    random = np.random.default_rng([seed, 4])
    plain, normalised = [], []
    for units in (2, 5, 20):
        a, b = (_moments(random, units) for _ in range(2))
        turn = np.linalg.qr(random.normal(size=(units, units)))[0]
        turned = [(turn @ mean, turn @ np.diag(sd**2) @ turn.T) for mean, sd in (a, b)]
        plain.append(Compared(_gaussian_w2(a, b, random), np.sqrt(_bures(*turned))).error)
        # In coordinates where the source is standard normal, W~ is W2; its square is a sum over units, ours a mean.
        whiten = np.linalg.inv(np.real(sqrtm(turned[0][1])))
        white = [(whiten @ mean, whiten @ covariance @ whiten) for mean, covariance in turned]
        normalised.append(Compared(source_normalised(a, b), np.sqrt(_bures(*white) / units)).error)
    return float(np.max(plain)), float(np.max(normalised))


def _gaussian_w2(a: tuple[Floats, Floats], b: tuple[Floats, Floats], random: np.random.Generator) -> float:
    """W2 by its location and scale parts, from 400 values a unit that have exactly these moments (mean, sd)."""
    samples = []
    for mean, sd in (a, b):
        values = random.normal(size=(len(mean), 400))
        values = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
        samples.append(_distribution(mean[:, None] + sd[:, None] * values))
    parts = [METRICS[name].function(*samples) for name in ("w2_location", "w2_scale")]
    return float(np.sqrt(np.square(parts).sum()))


def _bures(a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> float:
    """W2 squared of N(m, A) and N(n, B): |m - n|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) (Dowson & Landau 1982)."""
    root = np.real(sqrtm(a[1]))
    return float(np.sum((a[0] - b[0]) ** 2) + np.trace(a[1] + b[1] - 2 * np.real(sqrtm(root @ b[1] @ root))))


def judge_gaussians(plain: float, normalised: float) -> Finding:
    """Passes where both relative errors are at most `SAME`."""
    return Finding(
        plain <= SAME and normalised <= SAME,
        f"largest relative error: W2 {power(plain)}, W~ {power(normalised)}",
        "3 pairs of random normal distributions with 2, 5 and 20 units, against the formula with SciPy's sqrtm",
        {"w2_error": plain, "source_normalised_error": normalised},
    )


def _moments(random: np.random.Generator, units: int) -> tuple[Floats, Floats]:
    """Random means and standard deviations of so many units."""
    return random.normal(size=units), random.uniform(0.3, 3, units)


def _distribution(values: NDArray[Any]) -> Distribution:
    """The distribution of values [units, n], by the accumulator that a recorder uses."""
    accumulator = Accumulator(
        len(values), np.inf, np.float64, lambda: np.random.default_rng(0), Workspace(), blocks=False
    )
    accumulator.observe(torch.from_numpy(np.ascontiguousarray(values.T)), None)
    accumulator.tick(0)
    return distribution_of(accumulator.ended())


def _mean(name: str, a: Distribution, b: Distribution, expected: float) -> Compared:
    """The mean of a metric over units, and what it should be."""
    metric: Metric = METRICS[name]
    return Compared(float(metric.function(a, b).mean()), float(expected))


CHECKS = (
    Check(
        "conditioning",
        "Inputs of unequal sd or mean stretch the cost surface, standardising rounds it, correlation stays",
        "LeCun, Kanter & Solla 1990",
        "condition number kappa 100 and 10,000 (ratio of variances), 51 with means, 1 standardised, and "
        "(1 + 0.9) / (1 - 0.9) = 19 correlated; largest eigenvalue lambda 100 and 1.9; to "
        f"{power(CONDITION_TOLERANCE)}",
        lambda _: judge_conditioning(two_features()),
    ),
    Check(
        "estimators",
        "Distances of samples have their closed forms, and W1 the noise of its theory",
        "Bobkov & Ledoux 2019 (noise); SciPy",
        f"closed forms of W1 and W2, and E W1 = {NULL} sd sqrt(1/n + 1/m), within {100 * CLOSED_TOLERANCE:g} %; W1, "
        f"energy and KS to {power(SAME)} of SciPy",
        lambda setting: judge_estimators(
            closed_forms(setting.seed), null_constant(setting.seed), against_scipy(setting.seed)
        ),
    ),
    Check(
        "gaussians",
        "Distances of diagonal normal distributions agree with the general formulas",
        "Schneider et al. 2020; Dowson & Landau 1982",
        f"W2 and W~ to {power(SAME)}",
        lambda setting: judge_gaussians(*gaussians(setting.seed)),
    ),
)
