"""What the loss does along its gradient (Santurkar et al. 2018, sec. 3.2): range, predictiveness, effective beta."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from icshift.errors import MeasurementError
from icshift.gradients.objective import Objective, moved, norm, trainable

STEPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Multiples of the learning rate: the paper's range for VGG (its points are not published)."""


@dataclass(frozen=True)
class Point:
    """The parameters θ − step·rate·g: the loss there, and how far its gradient is from g (Euclidean norm)."""

    step: float
    loss: float
    distance: float


@dataclass(frozen=True)
class Smoothness:
    """The loss at θ − step·rate·g, g being the gradient at θ, over some multiples `step` of a learning rate.

    `loss` and `gradient_norm` are those at θ. `loss_min` to `loss_max`: the range of the loss; `predictiveness_min` to
    `predictiveness_max`: of ‖∇L(θ − step·rate·g) − g‖; θ itself is in neither. `beta_rate`: the largest
    ‖∇L(θ − step·rate·g) − g‖ / ‖step·rate·g‖, times the rate: the effective smoothness without a unit, which can
    be compared between learning rates; gradient descent on a quadratic is stable below 2. `beta_step`: the
    multiple that attained it. It has a floor of rounding, largest at the shortest step: a few units in the last place
    of the parameters, over ‖step·rate·g‖.

    A point that is not finite counts: infinity makes a range's end infinite, NaN makes both ends and
    `beta_rate` NaN, and `beta_step` is then the first multiple where that happened. Where the gradient is zero
    or not finite, `beta_rate` and `beta_step` are NaN.
    """

    rate: float
    loss: float
    gradient_norm: float
    loss_min: float
    loss_max: float
    predictiveness_min: float
    predictiveness_max: float
    beta_rate: float
    beta_step: float
    points: tuple[Point, ...]


def smoothness(objective: Objective, rate: float, *, steps: Sequence[float] = STEPS) -> Smoothness:
    """Probes the loss along its gradient; `rate` is the learning rate, `steps` are multiples of it.

    Costs a forward and a backward for each of the steps and one more, and a last forward. Raises `MeasurementError` for
    a rate or steps that are not positive and finite, and for closures whose loss is not the same at every call.
    """
    rate, steps = _positive("rate", [rate])[0], _positive("steps", steps)
    theta = list(trainable(objective.model).values())
    loss, gradient = objective.loss_and_gradient(theta)
    length = norm(gradient)
    points = tuple(_point(objective, theta, gradient, step, rate) for step in steps)
    objective.confirm(loss)
    losses, distances = np.array([p.loss for p in points]), np.array([p.distance for p in points])
    known = math.isfinite(length) and length > 0
    # The rate cancels: β·rate = distance / ‖step·rate·g‖ · rate.
    beta = distances / (np.array(steps) * length) if known else np.full(len(points), np.nan)
    return Smoothness(
        rate=rate,
        loss=loss,
        gradient_norm=length,
        loss_min=float(losses.min()),
        loss_max=float(losses.max()),
        predictiveness_min=float(distances.min()),
        predictiveness_max=float(distances.max()),
        beta_rate=float(beta.max()),
        beta_step=steps[int(beta.argmax())] if known else math.nan,  # argmax gives the first NaN if there is one.
        points=points,
    )


def _point(
    objective: Objective, theta: Sequence[nn.Parameter], gradient: Sequence[Tensor], step: float, rate: float
) -> Point:
    values = [p.detach() - step * rate * g for p, g in zip(theta, gradient, strict=True)]
    with moved(theta, values):
        loss, there = objective.loss_and_gradient(theta)
    return Point(step, loss, norm([a.double() - b.double() for a, b in zip(there, gradient, strict=True)]))


def _positive(name: str, given: Sequence[float]) -> list[float]:
    values = [float(value) for value in given]
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        shown = values[0] if name == "rate" else values
        raise MeasurementError(f"{name} is {shown}: expected {'a number' if name == 'rate' else 'numbers'} above 0")
    return values
