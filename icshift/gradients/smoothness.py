"""Smoothness: how loss and gradient change along the gradient (Santurkar et al. 2018, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from icshift.errors import MeasurementError
from icshift.gradients.objective import Objective, norm, trainable, with_parameters

STEPS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Multiples of the learning rate: the paper's range for VGG (its points are not published)."""


@dataclass(frozen=True)
class Point:
    """The loss at the parameters θ − step·rate·g, and the Euclidean distance of its gradient there from g."""

    step: float
    loss: float
    distance: float


@dataclass(frozen=True)
class Smoothness:
    """Smoothness of the loss at θ − step·rate·g, where g is the gradient at θ, over some multiples `step` of a rate.

    `loss` and `gradient_norm` are those at θ. `loss_min` to `loss_max`: the range of the loss; `predictiveness_min` to
    `predictiveness_max`: of ‖∇L(θ − step·rate·g) − g‖; θ itself is in neither. `beta_rate`: the largest
    ‖∇L(θ − step·rate·g) − g‖ / ‖step·rate·g‖, times the rate: the effective smoothness without a unit, which can
    be compared between learning rates; gradient descent on a quadratic is stable below 2. `beta_step`: the
    multiple that attained it. `beta_rate` has a floor of rounding, largest at the shortest step: a few units in the
    last place of the parameters, over ‖step·rate·g‖.

    A point that is not finite counts: infinity makes a range's end infinite, NaN makes both ends and
    `beta_rate` NaN, and `beta_step` is then the first multiple where that happened. Where the gradient is zero
    or not finite, `beta_rate` and `beta_step` are NaN.

    >>> at_half_rate = Point(step=0.5, loss=1.28, distance=0.8)
    >>> bowl = Smoothness(
    ...     rate=0.1, loss=2.0, gradient_norm=4.0, loss_min=1.28, loss_max=1.28, predictiveness_min=0.8,
    ...     predictiveness_max=0.8, beta_rate=0.4, beta_step=0.5, points=(at_half_rate,),
    ... )
    >>> point = bowl.points[0]
    >>> round(point.distance / (point.step * bowl.gradient_norm), 9)  # This is beta_rate.
    0.4
    >>> bowl.beta_rate < 2  # Gradient descent would be stable here.
    True
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
    """Returns the smoothness of the loss along its gradient; `rate` is the learning rate, `steps` are multiples of it.

    The model is left as it is. Costs a forward and a backward for each of the steps and one more, and a last forward.
    Raises `MeasurementError` for a rate or steps that are not positive and finite, and for closures whose loss is not
    the same at every call.

    >>> import icshift, torch
    >>> model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    >>> _ = torch.nn.init.ones_(model.weight)
    >>> objective = icshift.Objective(model, lambda: 2 * model.weight.square().sum())
    >>> along = icshift.smoothness(objective, rate=0.1, steps=[0.5, 2.5])
    >>> round(along.loss_min, 9), round(along.loss_max, 9)
    (0.0, 1.28)
    >>> round(along.beta_rate, 9)  # The second derivative, 4, times the rate.
    0.4
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
    """Returns the point at θ − step·rate·g."""
    values = [p.detach() - step * rate * g for p, g in zip(theta, gradient, strict=True)]
    with with_parameters(theta, values):
        loss, there = objective.loss_and_gradient(theta)
    return Point(step, loss, norm([a.double() - b.double() for a, b in zip(there, gradient, strict=True)]))


def _positive(name: str, given: Sequence[float]) -> list[float]:
    """Returns numbers as floats. Raises `MeasurementError`, naming the argument, unless all are above 0 and finite."""
    values = [float(value) for value in given]
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        shown = values[0] if name == "rate" else values
        raise MeasurementError(f"{name} is {shown}: expected {'a number' if name == 'rate' else 'numbers'} above 0")
    return values
