"""Checks of gradient shift and of measures that compare the same examples, on cases whose answer is known by hand."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from icshift.analysis.metrics import METRICS
from icshift.distribution import Distribution, Sample, from_sample
from icshift.gradients.gradient_shift import LayerShift, gradient_shift
from icshift.gradients.objective import Objective
from icshift.selfcheck.check import Check, Compared, Finding, power, worst_of

Floats = NDArray[np.float64]

EXACT = 1e-9
"""Relative error that is allowed where the answer is exact: computed in float64."""

WIDTHS, SAMPLES, RATE = (5, 4, 4, 3), 50, 0.01

ROWS, UNITS = 64, 6


def three_linear_layers(seed: int) -> dict[str, Compared]:
    """The gradient shift of every layer of a linear network by a step of gradient descent, and what it is by hand.

    The loss is half the mean squared distance of W3 W2 W1 x and a target. By layer i its gradient is
    (W3 … Wi+1)' (W3 W2 W1 S - C) (Wi-1 … W1)', with S = E xx' and C = E tx' (a dash: transposed). G' has the layers
    before i after their step, layer i and those behind it before theirs.
    """
    random = np.random.default_rng([seed, 5])
    inputs, target = random.normal(size=(SAMPLES, WIDTHS[0])), random.normal(size=(SAMPLES, WIDTHS[-1]))
    weights = [random.normal(size=(out, into)) / np.sqrt(into) for into, out in pairwise(WIDTHS)]
    moments = inputs.T @ inputs / SAMPLES, target.T @ inputs / SAMPLES
    stepped = [weight - RATE * _by_hand(weights, i, moments) for i, weight in enumerate(weights)]
    compared = {}
    for i, found in enumerate(_measured(weights, inputs, target)):
        before, after = _by_hand(weights, i, moments), _by_hand([*stepped[:i], *weights[i:]], i, moments)
        lengths = float(np.linalg.norm(before)), float(np.linalg.norm(after))
        expected = float(np.linalg.norm(before - after)), float(np.sum(before * after) / np.prod(lengths)), *lengths
        for name, value in zip(("l2", "cosine", "norm", "norm_after"), expected, strict=True):
            compared[f"{name} of layer {i + 1}"] = Compared(getattr(found, name), value)
    return compared


def _by_hand(weights: list[Floats], layer: int, moments: tuple[Floats, Floats]) -> Floats:
    before, behind = np.eye(WIDTHS[0]), np.eye(WIDTHS[-1])
    for weight in weights[:layer]:
        before = weight @ before
    for weight in reversed(weights[layer + 1 :]):
        behind = behind @ weight
    return np.asarray(behind.T @ (behind @ weights[layer] @ before @ moments[0] - moments[1]) @ before.T)


def _measured(weights: list[Floats], inputs: Floats, target: Floats) -> list[LayerShift]:
    model = nn.Sequential(*(nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=torch.float64) for w in weights))
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight))
    x, t = torch.from_numpy(inputs), torch.from_numpy(target)
    objective = Objective(model, lambda: (model(x) - t).square().sum(1).mean() / 2)
    return gradient_shift(objective, torch.optim.SGD(model.parameters(), lr=RATE))


def judge_gradient_shift(found: Mapping[str, Compared]) -> Finding:
    """Passes where every number of every layer is that by hand."""
    name, error = worst_of(found)
    lengths = ", ".join(f"{found[f'l2 of layer {i}'].found:.4g}" for i in range(1, len(WIDTHS)))
    return Finding(
        error <= EXACT,
        f"‖G - G'‖ of layers 1 to 3: {lengths}; largest error of {len(found)} numbers {power(error)} ({name})",
        f"one network of {len(WIDTHS) - 1} linear layers, one step of rate {RATE} on n = {SAMPLES} examples, float64",
        {"error": error, **{name: one.found for name, one in found.items()}},
    )


def relations(seed: int) -> dict[str, Compared]:
    """Measures of how the same examples lie in two windows, where the second follows from the first by a known map.

    Rows are white: their covariance is exactly 1, so that every projection has a sd of 1. Scaling white rows by c takes
    each projection |c - 1| far, whatever the direction. Rows with two orthogonal directions of lengths a, b, of which
    one stays, have a linear CKA of a²c² / sqrt((a⁴ + b⁴)(c⁴ + d⁴)).
    """
    random = np.random.default_rng([seed, 6])
    white = _white(random.normal(size=(ROWS, UNITS)))
    shift = random.normal(size=UNITS)
    length = float(np.linalg.norm(shift))
    turn = np.linalg.qr(random.normal(size=(UNITS, UNITS)))[0]
    order = np.roll(np.arange(ROWS), 1)
    one, other = white[:, [0, 1]] * (2.0, 1.0), white[:, [0, 2]] * (1.5, 3.0)
    aligned = 2.0**2 * 1.5**2 / np.sqrt((2.0**4 + 1) * (1.5**4 + 3.0**4))
    return {
        "sliced W2, shift": _compared("sliced_w2", white, white + shift, length),
        "sliced W2, scale": _compared("sliced_w2", white, 1.5 * white, 0.5 * np.sqrt(UNITS)),
        "sliced W2, both": _compared("sliced_w2", white, 3 * white + shift, np.sqrt(4 * UNITS + length**2)),
        "sliced W2, same rows in another order": _compared("sliced_w2", white, white[order], 0.0),
        "1 - CKA, turned and scaled": _compared("cka_distance", white, 3 * white @ turn + shift, 0.0),
        "1 - CKA, one direction of two": _compared("cka_distance", one, other, 1 - aligned),
        "1 - CKA, nothing in common": _compared("cka_distance", white[:, :2], white[:, 2:4], 1.0),
        "displacement": _compared("displacement", white, white + shift, np.abs(shift)),
        "marginal share, shift": _compared("marginal_share", white, white + shift, 1.0),
        "marginal share, same rows in another order": _compared("marginal_share", white, white[order], 0.0),
    }


def _white(rows: Floats) -> Floats:
    centred = rows - rows.mean(0)
    return np.asarray(np.linalg.qr(centred)[0] * np.sqrt(len(rows)))


def _compared(name: str, before: Floats, after: Floats, expected: Any) -> Compared:
    """The value of a metric, of all units the one that is furthest off what is expected of it."""
    found = METRICS[name].function(_by_example(before), _by_example(after))
    wanted = np.broadcast_to(np.asarray(expected, float), found.shape)
    place = int(np.argmax(np.nan_to_num(np.abs(found - wanted), nan=np.inf)))
    return Compared(float(found[place]), float(wanted[place]))


def _by_example(rows: Floats) -> Distribution:
    values = from_sample(Sample(np.sort(rows.T, axis=1), np.full(rows.shape[1], len(rows))))
    return Distribution(**{**vars(values), "examples": np.ascontiguousarray(rows.T)})


def judge_relations(found: Mapping[str, Compared]) -> Finding:
    """Passes where every measure is its closed form."""
    name, error = worst_of(found)
    return Finding(
        error <= EXACT,
        f"largest error of {len(found)} closed forms {power(error)} ({name}); 1 - CKA of one direction of two "
        f"{found['1 - CKA, one direction of two'].found:.4f}",
        f"n = {ROWS} examples of {UNITS} units, float64",
        {"error": error, **{name: one.found for name, one in found.items()}},
    )


CHECKS = (
    Check(
        "gradient-shift",
        "The gradient shift of a linear network is what it is by hand: only the layers before i take their step",
        "Santurkar et al. 2018, definition 2.1",
        f"‖G - G'‖, cos(G, G'), ‖G‖ and ‖G'‖ of 3 layers to {power(EXACT)}",
        lambda setting: judge_gradient_shift(three_linear_layers(setting.seed)),
    ),
    Check(
        "relations",
        "Measures of the same examples in two windows have their closed forms under shift, scale, turn and exchange",
        "Bonneel et al. 2015 (sliced W2); Kornblith et al. 2019 (linear CKA)",
        f"sliced W2, 1 - CKA, displacement and its marginal share to {power(EXACT)}",
        lambda setting: judge_relations(relations(setting.seed)),
    ),
)
