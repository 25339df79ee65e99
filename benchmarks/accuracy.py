"""How exact the sketch is: W1 of two recorded windows against SciPy on the same raw activations.

    python benchmarks/accuracy.py

n = 20,000 activations a unit and window, in steps of 64, 60 units; every distribution against itself (another sample)
and shifted by 0.02, 0.1 and 0.5. Errors are in units of the unit's standard deviation. "bound" is the guaranteed one
that the drift table prints.
"""

from __future__ import annotations

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import wasserstein_distance

from icshift.analysis.metrics import METRICS
from icshift.distribution import Distribution
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.workspace import Workspace

N, UNITS, STEP = 20_000, 60, 64
SHIFTS = (0.0, 0.02, 0.1, 0.5)
TARGETS = (0.5, 2.0)


def samples(name: str, shift: float, random: np.random.Generator) -> np.ndarray:
    """Activations [N, UNITS] of one of the distributions, shifted by so many of its natural units."""
    normal = random.normal(shift, 1, (N, UNITS))
    values = {
        "normal": lambda: normal,
        "ReLU": lambda: np.maximum(normal, 0),
        "bimodal": lambda: np.where(random.random((N, UNITS)) < 0.5, normal / 2 - 2, random.normal(2, 0.5, (N, UNITS))),
        "lognormal": lambda: np.exp(normal),
        "Student t3": lambda: random.standard_t(3, (N, UNITS)) + shift,
        "constant": lambda: np.full((N, UNITS), 1.0),
        "N(100, 1)": lambda: 100 + normal,
        "1e-6 N(0, 1)": lambda: 1e-6 * normal,
    }
    return values[name]().astype(np.float32)


def recorded(values: np.ndarray) -> Distribution:
    """What a recorder keeps of these activations."""
    accumulator = Accumulator(UNITS, STEP, np.float32, lambda: np.random.default_rng(0), Workspace())
    for step, start in enumerate(range(0, N, STEP)):
        accumulator.observe(torch.from_numpy(values[start : start + STEP]), None)
        accumulator.tick(step)
    return distribution_of(accumulator.ended())


def main() -> None:
    random = np.random.default_rng(0)
    table = Table(title=f"|W1 of the sketch - W1 of SciPy| in % of the unit's sd, n = {N:,}, {UNITS} units, 4 shifts")
    for column in ("distribution", "median", "99 %", "bound (median)", "rank error"):
        table.add_column(column, justify="left" if column == "distribution" else "right")
    metric = METRICS["w1"]
    assert metric.error is not None
    for name in ("normal", "ReLU", "bimodal", "lognormal", "Student t3", "constant", "N(100, 1)", "1e-6 N(0, 1)"):
        errors, bounds = [], []
        for shift in SHIFTS:
            first, second = samples(name, 0.0, random), samples(name, shift, random)
            a, b = recorded(first), recorded(second)
            truth = [wasserstein_distance(first[:, unit], second[:, unit]) for unit in range(UNITS)]
            spread = np.where(first.std(0) > 0, first.std(0), 1.0)
            errors.append(100 * np.abs(metric.function(a, b) - truth) / spread)
            bounds.append(100 * metric.error(a, b) / spread)
        row = (np.median(errors), np.quantile(errors, 0.99), np.median(bounds))
        table.add_row(name, *(f"{value:.3f}" for value in row), f"{100 * a.rank_error:.2f} %")
    Console().print(table)
    Console().print(f"Targets: median at most {TARGETS[0]} %, 99 % at most {TARGETS[1]} %.")


if __name__ == "__main__":
    main()
