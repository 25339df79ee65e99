"""The measurements of `icshift landscape`: the loss around saved models, all of them in the plane of the first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from icshift.errors import IcshiftError, MeasurementError, ModelError
from icshift.gradients.hessian import Spectrum, hessian
from icshift.gradients.objective import Objective, dot, norm, trainable
from icshift.gradients.slices import Slice, loss_slice, random_directions
from icshift.gradients.smoothness import STEPS, Smoothness, smoothness
from icshift.inputs.batches import Batch, forward, length
from icshift.inputs.data import Data
from icshift.inputs.losses import Loss
from icshift.inputs.targets import separated
from icshift.model.modes import evaluating
from icshift.model.torch_private import AVERAGING, INSTANCE_NORM

Plane = Literal["hessian", "random", "none"]

_WORTH_THREADS = 2e8
"""Floating-point operations of a forward from which on several threads pay: about five milliseconds on one core."""

Directions = Sequence[Sequence[Tensor]]
"""Two directions, each with one tensor for each trainable parameter."""


@dataclass(frozen=True)
class Asked:
    """Which measurements are made of every model.

    `rate` is the learning rate; without one, smoothness along the gradient is not measured. `top` is how many
    eigenvalues of the Hessian are wanted, `plane` what spans the slice. `radius` is that of the slice, in the lengths
    of its directions: by default 1 for random ones, and for eigenvectors the `fitting_radius` of the first model.
    `points` are those of the slice along either direction, `seed` that of random directions. With `running`, batch norm
    uses its running averages and not those of the batch.
    """

    rate: float | None = None
    top: int = 5
    plane: Plane = "hessian"
    radius: float | None = None
    points: int = 21
    seed: int = 0
    running: bool = False


@dataclass(frozen=True)
class Displacement:
    """Where a model is in relation to the first.

    `distance` is the Euclidean distance of the trainable parameters. `place` are the coordinates in the plane of the
    slice (None without a plane), `off_plane` is the distance from that place (NaN without a plane). `cosine` is the
    absolute cosine between the top eigenvectors of both Hessians.
    """

    distance: float
    place: tuple[float, float] | None
    off_plane: float
    cosine: float


@dataclass(frozen=True, eq=False)
class Surface:
    """The loss around one model: what `Survey.measure` returns.

    `loss` and `gradient_norm` are those at the model. `smoothness` is None without a learning rate, `slice` without a
    plane, `displacement` for the first model.
    """

    name: str
    spectrum: Spectrum
    loss: float
    gradient_norm: float
    smoothness: Smoothness | None
    slice: Slice | None
    displacement: Displacement | None
    asked: Asked
    rounding: float
    """Change of the parameters by rounding, as a share of the shortest step along the gradient; NaN without a rate."""

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as plain values, under the names of `--json`."""
        spectrum, along, around = self.spectrum, self.smoothness, self.slice
        steepest = float(spectrum.eigenvalues[0])
        return {
            "model": self.name,
            "loss": self.loss,
            "gradient_norm": self.gradient_norm,
            "parameters": spectrum.parameters,
            "eigenvalues": [
                {"value": float(value), "error": float(error)}
                for value, error in zip(spectrum.eigenvalues, spectrum.errors, strict=True)
            ][: self.asked.top],
            "smallest": spectrum.smallest,
            "smallest_error": spectrum.smallest_error,
            "condition_number": spectrum.condition,
            "converged": spectrum.converged,
            "products": spectrum.products,
            "learning_rate": self.asked.rate,
            "lambda_lr": None if self.asked.rate is None else steepest * self.asked.rate,
            "largest_step": 2 / steepest if steepest > 0 else math.nan,
            "along_gradient": None if along is None else {**asdict(along), "rounding": self.rounding},
            "slice": None if around is None else _slice_as_dict(around, self.asked),
            "moved": None if self.displacement is None else asdict(self.displacement),
        }


class Survey:
    """Measures saved models on the same data; the plane of the first is that of all.

    The loss is the mean over examples, with everything in eval mode but layers that normalise by the batch. The model
    keeps the weights that were put into it last; nothing else of it changes.
    """

    def __init__(self, model: nn.Module, data: Data, loss: Loss, asked: Asked) -> None:
        self._model, self._data, self._loss, self._asked = model, data.finite(), loss, asked
        self._left_out = data.examples - self._data.examples
        if not self._data.batches:
            raise ModelError(f"{data.source} holds no example that is finite")
        self._first: _First | None = None

    def about(self) -> dict[str, Any]:
        """Returns what all numbers depend on: network, data, loss, and what layers normalise by, as plain values.

        `left_out` is the number of examples with a value that is not finite; they are not among `examples`.
        """
        return {
            "network": type(self._model).__name__,
            "data": self._data.source,
            "examples": self._data.examples,
            "batches": len(self._data.batches),
            "batch_size": max(map(length, self._data.batches)),
            "loss_function": self._loss.name,
            **normalised_by(self._model, running=self._asked.running),
            "left_out": self._left_out,
        }

    def measure(self, name: str, put: Callable[[nn.Module], object], after: Callable[[str], None]) -> Surface:
        """Returns the loss around one saved model, called `name`; `put` puts its weights into the model.

        `after` is called with the kind of work that was done: `Hessian` after every product with it, `gradient` after
        the steps along it, `slice` after every point of it. Raises `ModelError` where the model does not take the data,
        `MeasurementError` where the loss is not finite.
        """
        put(self._model)
        with _named(name), evaluating(self._model, "running" if self._asked.running else "batch"):
            objective = self._objective()
            with _threads_for(objective, len(self._data.batches)):
                return self._measured(name, objective, after)

    def _measured(self, name: str, objective: Objective, after: Callable[[str], None]) -> Surface:
        model, asked = self._model, self._asked
        parameters = list(trainable(model).values())
        loss, gradient = objective.loss_and_gradient(parameters)
        if not math.isfinite(loss):
            raise MeasurementError(f"the loss is {loss}: nothing can be measured around it")
        spectrum = hessian(
            objective, top=max(asked.top, 2 if asked.plane == "hessian" else 1), after=lambda: after("Hessian")
        )
        along = None if asked.rate is None else smoothness(objective, asked.rate)
        rounding = math.nan if asked.rate is None else _rounding(parameters, asked.rate * norm(gradient))
        after("gradient")
        apart = None if self._first is None else self._first.displacement_of(parameters, spectrum)
        self._first = self._first or _First.of(model, loss, spectrum, asked)
        around = self._slice(objective, self._first, lambda: after("slice"))
        # Vectors are as large as the model, and done with.
        spectrum = replace(spectrum, vectors=[])
        return Surface(name, spectrum, loss, norm(gradient), along, around, apart, asked, rounding)

    def _slice(self, objective: Objective, first: _First, after: Callable[[], None]) -> Slice | None:
        if first.directions is None:
            return None
        points = self._asked.points
        return loss_slice(objective, first.directions, radius=first.radius, points=points, after=after)

    def _objective(self) -> Objective:
        batches = self._data.batches
        return Objective(self._model, [self._closure(batch) for batch in batches], [length(batch) for batch in batches])

    def _closure(self, batch: Batch) -> Callable[[], Tensor]:
        inputs, target = separated(batch)

        def closure() -> Tensor:
            return self._loss.compute(forward(self._model, inputs, self._data.source), target)

        return closure


def fitting_radius(loss: float, steepest: float, size: float) -> float:
    """Returns how far along the top eigenvector the quadratic at the model doubles the loss, to one digit.

    `steepest` is the largest eigenvalue, `size` the norm of the parameters. A slice with this radius shows contours,
    whether the loss is steep or flat. The radius is at least a ten-thousandth of `size`, below which losses are lost in
    rounding, and at most `size`, beyond which the quadratic says nothing about the loss.
    """
    size = size or 1.0
    reach = math.sqrt(2 * abs(loss) / steepest) if steepest > 0 else size
    return float(f"{min(max(reach, 1e-4 * size), size):.0e}")


def _rounding(parameters: Sequence[nn.Parameter], length: float) -> float:
    """Returns half a unit in the last place of the parameters (Euclidean), over the shortest step.

    `length` is the learning rate times the norm of the gradient: a step of 1.
    """
    eps = max(torch.finfo(parameter.dtype).eps for parameter in parameters)
    return eps / 2 * norm(parameters) / (min(STEPS) * length) if length > 0 else math.inf


def points_table(surfaces: Sequence[Surface]) -> pd.DataFrame:
    """Returns a data frame with one row per point of every slice and the columns model, alpha, beta and loss.

    The point of the model itself is always among them, at alpha = beta = 0.
    """
    rows: list[tuple[str, float, float, float]] = []
    for surface in surfaces:
        around = surface.slice
        if around is None:
            continue
        grid = [
            (surface.name, float(alpha), float(beta), float(around.losses[i, j]))
            for i, alpha in enumerate(around.first)
            for j, beta in enumerate(around.second)
        ]
        rows += grid if any(a == b == 0 for _, a, b, _ in grid) else [(surface.name, 0.0, 0.0, surface.loss), *grid]
    return pd.DataFrame(rows, columns=["model", "alpha", "beta", "loss"])


def normalised_by(model: nn.Module, *, running: bool) -> dict[str, str | None]:
    """Returns what batch norm and instance norm layers normalise by while measured, None for a kind that is not there.

    That is the batch or the example at hand; with `running`, running averages where a layer keeps them. Where only some
    layers of a kind do, both are named.
    """
    layers = [module for module in model.modules() if isinstance(module, AVERAGING)]
    instance = [layer for layer in layers if isinstance(layer, INSTANCE_NORM)]
    batch = [layer for layer in layers if not isinstance(layer, INSTANCE_NORM)]

    def by(layers: Sequence[nn.Module], own: str) -> str | None:
        averaged = {running and layer.running_mean is not None for layer in layers}
        return {(): None, (False,): own, (True,): "running averages"}.get(
            tuple(averaged), f"running averages, else {own}"
        )

    return {"batch_norm": by(batch, "batch"), "instance_norm": by(instance, "example")}


def _slice_as_dict(around: Slice, asked: Asked) -> dict[str, Any]:
    return {
        "plane": asked.plane,
        "seed": asked.seed if asked.plane == "random" else None,
        "radius": float(around.first[-1]),
        "points": asked.points,
        "lengths": around.lengths,
        "cosine": around.cosine,
        "nonfinite": int((~np.isfinite(around.losses)).sum()),
        "curvatures": around.curvatures,
        "elongation": around.elongation,
        "quadratic_minimum": around.quadratic_minimum,
        "minimum": _point(around.minimum) | {"gap": around.minimum_gap},
        "lowest": _point(around.lowest) | {"on_edge": around.at_edge},
    }


def _point(place: tuple[float, float, float]) -> dict[str, Any]:
    return dict(zip(("alpha", "beta", "loss"), place, strict=True))


@dataclass(frozen=True, eq=False)
class _First:
    """The first model, which the others are compared with: its parameters, Hessian and plane."""

    parameters: Sequence[Tensor]
    spectrum: Spectrum
    directions: Directions | None
    radius: float

    @classmethod
    def of(cls, model: nn.Module, loss: float, spectrum: Spectrum, asked: Asked) -> _First:
        """Returns the first model with copies of its parameters, since others will be put in their place."""
        parameters = [value.detach().clone() for value in trainable(model).values()]
        directions: Directions | None = None
        radius = asked.radius or 1.0
        if asked.plane == "hessian":
            if len(spectrum.vectors) < 2:
                raise MeasurementError("one parameter is no plane: take --slice none")
            directions = spectrum.vectors[:2]
            radius = asked.radius or fitting_radius(loss, float(spectrum.eigenvalues[0]), norm(parameters))
        elif asked.plane == "random":
            directions = random_directions(model, asked.seed)
        return cls(parameters, spectrum, directions, radius)

    def displacement_of(self, parameters: Sequence[Tensor], spectrum: Spectrum) -> Displacement:
        """Returns where a model with these parameters and this spectrum is in relation to the first."""
        apart = [b.detach() - a for a, b in zip(self.parameters, parameters, strict=True)]
        cosine = abs(dot(self.spectrum.vectors[0], spectrum.vectors[0]))
        if self.directions is None:
            return Displacement(norm(apart), None, math.nan, cosine)
        gram = np.array([[dot(a, b) for b in self.directions] for a in self.directions])
        place = np.linalg.solve(gram, [dot(direction, apart) for direction in self.directions])
        left = [
            value - float(place[0]) * first - float(place[1]) * second
            for value, first, second in zip(apart, *self.directions, strict=True)
        ]
        return Displacement(norm(apart), (float(place[0]), float(place[1])), norm(left), cosine)


@contextmanager
def _threads_for(objective: Objective, batches: int) -> Iterator[None]:
    """Limits torch to one thread for the block, where a forward of a batch is too little work for several.

    Small steps gain nothing from a second thread and take ten times as long when the machine is busy. Counted and not
    timed, so that the same model is always measured in the same way.
    """
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with FlopCounterMode(display=False) as counter:
            objective.loss()
        if counter.get_total_flops() / batches > _WORTH_THREADS:
            torch.set_num_threads(threads)
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the name of the model in front of the message of an error that is raised in the block."""
    try:
        yield
    except IcshiftError as error:
        raise type(error)(f"{name}: {error}") from error
