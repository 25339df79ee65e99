"""What do inputs of different distributions do to the cost function, and when does a shift of theirs move its minimum?

    python examples/two_features.py

A linear model tells cats by two inputs, size and fur colour; its cost is half the mean squared error. The cost's
curvature is the inputs' second moments E[x x'] alone (LeCun, Kanter & Solla 1990): inputs that differ in spread, or
have a mean, stretch its contours by sqrt(kappa), where kappa is the Hessian's largest over its smallest eigenvalue.

It shows that standardising inputs rounds the contours, so that gradient descent goes straight to the minimum, but does
not remove correlation, which leaves kappa (1 + rho) / (1 - rho). And that inputs which move change the contours in all
three cases, but the minimum only where no line fits, or where labels stay behind: that changes p(y | x), and is more
than a covariate shift. It does not show what normalising does within a deep network: there the cost is not quadratic,
and what a layer gets moves as the network learns.
"""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd
import torch
from torch import nn

import icshift

N = 100
Floats = np.ndarray
GREY, BLUE, RED = "#9a9a9a", "#1f6fb4", "#c0392b"

INPUTS = {
    "sd 1 and 10": ((1, 10), (0, 0), 0),
    "sd 1 and 100": ((1, 100), (0, 0), 0),
    "means 5 and 5, sd 1": ((1, 1), (5, 5), 0),
    "sd 1, correlation 0.9": ((1, 1), (0, 0), 0.9),
}
"""Standard deviations and means of size and fur colour, and their correlation."""


def features(sd: tuple[float, float], mean: tuple[float, float], correlation: float) -> Floats:
    """Inputs [n, 2] that have exactly these moments: a sample is made white before it gets them."""
    drawn = np.random.default_rng(0).normal(size=(N, 2))
    drawn -= drawn.mean(0)
    white = drawn @ np.linalg.inv(np.linalg.cholesky(np.cov(drawn.T, bias=True))).T
    return white @ np.linalg.cholesky([[1, correlation], [correlation, 1]]).T * sd + mean


def standardised(inputs: Floats) -> Floats:
    """Inputs [n, 2] with mean 0 and sd 1."""
    return (inputs - inputs.mean(0)) / inputs.std(0)


@dataclass(frozen=True)
class Cost:
    """The shape of a linear model's cost, which is quadratic in its two weights."""

    kappa: float
    elongation: float
    minimum: Floats
    curvatures: Floats
    axes: Floats

    def contour(self, level: float) -> Floats:
        """Weights [61, 2] on the ellipse where the cost is this much above the minimum."""
        angle = np.linspace(0, 2 * np.pi, 61)
        circle = np.stack([np.cos(angle), np.sin(angle)], 1)
        return self.minimum + np.sqrt(2 * level / self.curvatures) * circle @ self.axes


def cost(inputs: Floats, targets: Floats) -> Cost:
    """The cost's shape, measured by icshift at weights of 0: for a quadratic, what holds there holds everywhere."""
    x, y = torch.tensor(inputs), torch.tensor(targets)
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    objective = icshift.Objective(model, lambda: (model(x)[:, 0] - y).square().mean() / 2)
    spectrum = icshift.hessian(objective, top=2)
    weights = [torch.tensor([[1.0, 0.0]])], [torch.tensor([[0.0, 1.0]])]
    plane = icshift.loss_slice(objective, weights, radius=1, points=2)
    axes = np.concatenate([vector[0].numpy() for vector in spectrum.vectors])
    minimum = np.array(plane.quadratic_minimum)
    return Cost(spectrum.condition, plane.elongation, minimum, spectrum.eigenvalues, axes)


def descent(inputs: Floats, targets: Floats, start: Floats, curvatures: Floats) -> Floats:
    """Weights [steps + 1, 2] of gradient descent at the best rate, until the cost is 1e-6 of what it was."""
    weights, rate = [start], 2 / curvatures.sum()
    wrong = inputs @ start - targets
    enough = 1e-6 * wrong @ wrong
    while wrong @ wrong > enough:
        weights.append(weights[-1] - rate * inputs.T @ wrong / len(inputs))
        wrong = inputs @ weights[-1] - targets
    return np.array(weights)


def conditioning() -> pd.DataFrame:
    """A row for each kind of inputs: kappa, the contours' axis ratio and the steps of gradient descent."""
    rows = []
    for name, moments in INPUTS.items():
        raw, row = features(*moments), {"inputs": name}
        for kind, inputs in (("raw", raw), ("standardised", standardised(raw))):
            targets = inputs.sum(1)  # Both weights are 1 at the minimum, where the cost is 0.
            shape = cost(inputs, targets)
            steps = len(descent(inputs, targets, np.zeros(2), shape.curvatures)) - 1
            row |= {(kind, "kappa"): shape.kappa, (kind, "axis ratio"): shape.elongation, (kind, "steps"): steps}
        rows.append(row)
    table = pd.DataFrame(rows).set_index("inputs")
    return table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis=1)


def shifts() -> dict[str, tuple[Cost, Cost]]:
    """The cost of y = weight x + bias before and after inputs move from mean 0 to mean 1, with sd 1.

    The bias is the weight of an input that is always 1.
    """
    z = features((1, 1), (0, 0), 0)[:, 0]
    z = np.concatenate([z, -z])  # Symmetric, so that x and x^2 are uncorrelated.
    before, after = (np.stack([x, np.ones_like(x)], 1) for x in (z, z + 1))
    return {
        "y = 2x + 1": (cost(before, 2 * z + 1), cost(after, 2 * (z + 1) + 1)),
        "y = x², which no line fits": (cost(before, z**2), cost(after, (z + 1) ** 2)),
        "y = 2x + 1, labels kept": (cost(before, 2 * z + 1), cost(after, 2 * z + 1)),
    }


def of_shifts(shifted: dict[str, tuple[Cost, Cost]]) -> pd.DataFrame:
    """A row for each case: where the minimum is (weight, bias), and kappa."""
    columns: dict[str, list[object]] = {"case": [*shifted]}
    for i, when in enumerate(("before", "after")):
        costs = [pair[i] for pair in shifted.values()]
        columns[f"minimum {when}"] = ["({:.2f}, {:.2f})".format(*shape.minimum.round(9) + 0.0) for shape in costs]
        columns[f"kappa {when}"] = [shape.kappa for shape in costs]
    return pd.DataFrame(columns)


def panel(title: str, axes: tuple[str, str], domain: list[list[float]], lines: list[tuple[str, Floats]]) -> alt.Chart:
    """Lines of weights [n, 2], each with its colour; a cross where a line is one point, the minimum."""
    frames = [
        pd.DataFrame(points, columns=["x", "y"]).assign(line=i, colour=colour, alone=len(points) == 1)
        for i, (colour, points) in enumerate(lines)
    ]
    chart = alt.Chart(pd.concat(frames).reset_index(names="order")).encode(
        alt.X("x:Q", title=axes[0], scale=alt.Scale(domain=domain[0])),
        alt.Y("y:Q", title=axes[1], scale=alt.Scale(domain=domain[1])),
        alt.Color("colour:N", scale=None),
        alt.Detail("line:N"),
        alt.Order("order:Q"),
    )
    crosses = chart.mark_point(shape="cross", size=80, filled=True, opacity=1).transform_filter("datum.alone")
    return (chart.mark_line(clip=True, strokeWidth=1) + crosses).properties(width=200, height=200, title=title)


def of_inputs(name: str, kind: str) -> alt.Chart:
    """Contours around the minimum, and the way of gradient descent."""
    raw, start = features(*INPUTS[name]), np.array([0.1, 1.2])
    inputs = standardised(raw) if kind == "standardised" else raw
    targets = inputs.sum(1)
    shape = cost(inputs, targets)
    height = np.mean((inputs @ start - targets) ** 2) / 2
    lines = [(GREY, shape.contour(height * share)) for share in (1 / 16, 1 / 4, 1, 4)]
    lines += [(BLUE, descent(inputs, targets, start, shape.curvatures)), (RED, shape.minimum[None])]
    return panel(f"{name}: κ = {shape.kappa:,.0f}", ("weight of size", "weight of fur colour"), [[0, 2], [0, 2]], lines)


def of_shift(case: str, pair: tuple[Cost, Cost]) -> alt.Chart:
    """Contours around the minimum before (grey) and after the shift (red)."""
    lines = []
    for colour, shape in zip((GREY, RED), pair, strict=True):
        lines += [(colour, points) for points in (shape.minimum[None], shape.contour(0.1), shape.contour(0.5))]
    return panel(case, ("weight", "bias"), [[-1.5, 3.5], [-2.5, 2.5]], lines)


def picture(shifted: dict[str, tuple[Cost, Cost]]) -> alt.VConcatChart:
    """A row of panels for raw inputs, one for standardised ones, and one for the shifts."""
    shown = [name for name in INPUTS if "100" not in name]
    rows = {
        "Raw inputs: contours of the cost, and gradient descent (blue)": [of_inputs(name, "raw") for name in shown],
        "The same inputs, standardised": [of_inputs(name, "standardised") for name in shown],
        "Inputs move from mean 0 (grey) to mean 1 (red)": [of_shift(case, pair) for case, pair in shifted.items()],
    }
    return alt.vconcat(*(alt.hconcat(*row).properties(title=title) for title, row in rows.items()))


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    print(f"Cost of a linear model of two inputs, n = {N}. kappa: the Hessian's largest over its smallest eigenvalue;")
    print("axis ratio of the contours; steps of gradient descent at the best rate, to 1e-6 of the cost.")
    print(conditioning().to_string(float_format="{:.2f}".format))
    shifted = shifts()
    print(f"Inputs move from mean 0 to mean 1, n = {2 * N}: the minimum (weight, bias) of a line's cost.")
    print(of_shifts(shifted).to_string(index=False, float_format="{:.2f}".format))
    picture(shifted).save("two_features.svg")
    print("Picture: two_features.svg")
    print("Next: icshift selfcheck --quick --only conditioning")


if __name__ == "__main__":
    main()
