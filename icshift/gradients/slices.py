"""Slices: the loss on a plane through the parameters, on a grid, and the shape of its contours at the centre."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from icshift.errors import MeasurementError
from icshift.gradients.cards import slice_card, slice_line
from icshift.gradients.hessian_products import products
from icshift.gradients.objective import Objective, dot, norm, trainable, with_parameters

Floats = NDArray[np.float64]

_PARALLEL = 1e-8
"""Two directions span no plane where the squared sine of their angle is below this."""


_FITS = 0.02
"""Losses that deviate by more than this share of their range from a quadratic are not taken for one."""

_NOWHERE = (float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Slice:
    """The loss around a model, in the plane of two directions d1 and d2 through its parameters.

    `losses` [i, j] are those at parameters + first[i]·d1 + second[j]·d2; NaN and infinity are kept as they are.
    `lengths` are the norms of d1 and d2, `cosine` is that of their angle. `lowest` is the lowest point of the grid
    (first, second, loss; the nearest to the centre of equal ones); `at_edge` says that it lies on the border, so that
    the loss may fall further outside. `minimum` (first, second, loss) is that of the quadratic through the 3 x 3 points
    around it, least squares, and lies between points of the grid; NaN where there is none, for the reason in
    `minimum_gap`, which is empty otherwise.

    The rest is of the loss's second derivatives at the centre, exact and in distances between parameters, whatever the
    lengths and the angle of the directions: `curvatures` are the two eigenvalues in the plane, `elongation` is the axis
    ratio sqrt(largest / smallest) of the contours, `quadratic_minimum` is where (first, second) the quadratic has its
    minimum. The latter two are NaN unless both curvatures are positive. `loss_slice` makes one, and has an example.
    """

    first: Floats
    second: Floats
    losses: Floats
    lengths: tuple[float, float]
    cosine: float
    minimum: tuple[float, float, float]
    minimum_gap: str
    lowest: tuple[float, float, float]
    at_edge: bool
    curvatures: tuple[float, float]
    elongation: float
    quadratic_minimum: tuple[float, float]

    __repr__ = slice_line
    _repr_html_ = slice_card


def random_directions(model: nn.Module, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Returns two filter-normalised random directions (Li et al. 2018, section 4), shaped like trainable parameters.

    Normal draws, scaled so that each filter (an entry of the first dimension: a row of a linear layer, an output
    channel of a convolution) is as long as the model's. They are zero for biases and the parameters of normalisation
    layers, which a slice therefore leaves as they are. Nothing is drawn from torch's generator. Raises
    `MeasurementError` for a model without trainable parameters.

    >>> import icshift, torch
    >>> model = torch.nn.Linear(3, 2)
    >>> first, second = icshift.random_directions(model, seed=0)
    >>> torch.allclose(first[0].norm(dim=1), model.weight.norm(dim=1))  # Weights: row by row as long as the model's.
    True
    >>> first[1]  # Biases.
    tensor([0., 0.])
    """
    generator = torch.Generator().manual_seed(seed)
    parameters = trainable(model).values()
    first, second = ([_filters(parameter.detach(), generator) for parameter in parameters] for _ in range(2))
    return first, second


def loss_slice(
    objective: Objective,
    directions: Sequence[Sequence[Tensor]],
    *,
    radius: float | tuple[float, float],
    points: int = 21,
    after: Callable[[], object] | None = None,
) -> Slice:
    """Returns the loss on a grid of `points` x `points` from -radius to radius times each of two directions.

    A direction has a tensor for each trainable parameter, as from `random_directions` or `hessian(...).vectors`.
    `radius` may be a pair, one for each direction; `after` is called after every point. The model's mode is the
    caller's, its buffers are those of the objective at every point, and it is left as it is. Costs a forward a point,
    and two products with the Hessian. Raises `MeasurementError` where the directions do not fit the trainable
    parameters or span no plane, and where the loss cannot be differentiated twice at the centre.

    >>> import icshift, torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> model.weight.data = torch.tensor([[0.0, 0.0]])
    >>> scales = torch.tensor([[100.0, 1.0]])
    >>> objective = icshift.Objective(model, lambda: (scales * model.weight.square()).sum() / 2)
    >>> directions = [[torch.tensor([[1.0, 0.0]])], [torch.tensor([[0.0, 1.0]])]]
    >>> plane = icshift.loss_slice(objective, directions, radius=2, points=3)
    >>> plane.losses
    array([[202., 200., 202.],
           [  2.,   0.,   2.],
           [202., 200., 202.]])
    >>> plane.curvatures, plane.elongation
    ((100.0, 1.0), 10.0)
    """
    parameters = list(trainable(objective.model).values())
    first, second = _grid(radius, points)
    plane = [_fitting(direction, parameters) for direction in directions]
    metric = _metric(plane)
    curvatures, elongation, quadratic_minimum = _quadratic(objective, parameters, plane, metric)
    losses = _losses(objective, parameters, plane, first, second, after)
    place = _lowest(first, second, losses)
    lowest, at_edge = _at(first, second, losses, place)
    eps = max(torch.finfo(parameter.dtype).eps for parameter in parameters)
    minimum, minimum_gap = _fitted_minimum(first, second, losses, place, 10 * eps)
    lengths = float(np.sqrt(metric[0, 0])), float(np.sqrt(metric[1, 1]))
    return Slice(
        first=first,
        second=second,
        losses=losses,
        lengths=lengths,
        cosine=float(metric[0, 1] / (lengths[0] * lengths[1])),
        minimum=minimum,
        minimum_gap=minimum_gap,
        lowest=lowest,
        at_edge=at_edge,
        curvatures=curvatures,
        elongation=elongation,
        quadratic_minimum=quadratic_minimum,
    )


def _filters(parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Returns a random direction of one parameter, every filter as long as its own; zero up to one dimension."""
    if parameter.ndim <= 1:
        return torch.zeros_like(parameter)
    # Drawn on the CPU: the same directions on every device.
    drawn = torch.randn(parameter.shape, generator=generator).to(parameter)
    across = tuple(range(1, parameter.ndim))
    length, wanted = (torch.linalg.vector_norm(t, dim=across, keepdim=True) for t in (drawn, parameter))
    return drawn * (wanted / (length + 1e-10))


def _grid(radius: float | tuple[float, float], points: int) -> tuple[Floats, Floats]:
    """Returns the coordinates of the points along both directions.

    Raises `MeasurementError` for a radius or a number of points that makes no grid.
    """
    radii = np.broadcast_to(np.asarray(radius, float), 2)
    if not (np.isfinite(radii) & (radii > 0)).all() or points < 2:
        raise MeasurementError(f"radius={radius}, points={points}: expected a radius above zero and two points or more")
    # Odd numbers of points have the centre itself among them, without rounding.
    steps = np.arange(1 - points, points, 2) / (points - 1)
    return radii[0] * steps, radii[1] * steps


def _fitting(direction: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Returns a direction on the parameters' devices in their precision. Raises `MeasurementError` for other shapes."""
    given, expected = ([list(tensor.shape) for tensor in tensors] for tensors in (direction, parameters))
    if given != expected:
        raise MeasurementError(
            f"a direction has tensors of shapes {_short(given)}; expected those of the trainable parameters, "
            f"{_short(expected)}"
        )
    return [tensor.detach().to(parameter) for tensor, parameter in zip(direction, parameters, strict=True)]


def _short(shapes: Sequence[object]) -> str:
    return ", ".join(str(shape) for shape in shapes[:4]) + (f" and {len(shapes) - 4} more" if len(shapes) > 4 else "")


def _metric(plane: Sequence[Sequence[Tensor]]) -> Floats:
    """Returns the inner products of the two directions [2, 2]. Raises `MeasurementError` where they span no plane."""
    if len(plane) != 2:
        raise MeasurementError(f"got {len(plane)} directions: expected two")
    metric = np.array([[dot(a, b) for b in plane] for a in plane])
    if not np.isfinite(metric).all() or min(metric.diagonal()) == 0:
        raise MeasurementError(
            f"the directions have lengths {norm(plane[0]):.3g} and {norm(plane[1]):.3g}: expected two above zero "
            "(random ones are zero where a model has no parameter of two dimensions)"
        )
    if np.linalg.det(metric) <= _PARALLEL * metric[0, 0] * metric[1, 1]:
        raise MeasurementError("the two directions are parallel: they span no plane")
    return metric


def _quadratic(
    objective: Objective, parameters: Sequence[nn.Parameter], plane: Sequence[Sequence[Tensor]], metric: Floats
) -> tuple[tuple[float, float], float, tuple[float, float]]:
    """Curvatures, elongation and place of the minimum of the loss's second-order expansion in the plane."""
    gradient = [tensor.to_dense() for tensor in objective.gradient(parameters)]
    images = products(objective, parameters, plane)[1]
    curvature = np.array([[dot(a, image) for image in images] for a in plane])
    slope = np.array([dot(a, gradient) for a in plane])
    to_metric = np.linalg.inv(np.linalg.cholesky(metric))
    within = to_metric @ curvature @ to_metric.T
    smallest, largest = np.linalg.eigvalsh((within + within.T) / 2).tolist()
    eps = max(torch.finfo(parameter.dtype).eps for parameter in parameters)
    rounding = abs(within[0, 1] - within[1, 0]) + 10 * eps * max(abs(largest), abs(smallest))
    if smallest <= rounding:
        return (largest, smallest), float("nan"), (float("nan"), float("nan"))
    lowest = -np.linalg.solve((curvature + curvature.T) / 2, slope)
    return (largest, smallest), float(np.sqrt(largest / smallest)), (float(lowest[0]), float(lowest[1]))


def _losses(
    objective: Objective,
    parameters: Sequence[nn.Parameter],
    plane: Sequence[Sequence[Tensor]],
    first: Floats,
    second: Floats,
    after: Callable[[], object] | None,
) -> Floats:
    """Returns the loss at every point of the grid [first, second]."""
    centre = [parameter.detach() for parameter in parameters]
    losses = np.empty((len(first), len(second)))
    for (i, a), (j, b) in product(enumerate(first.tolist()), enumerate(second.tolist())):
        place = [torch.add(p, d, alpha=a).add_(e, alpha=b) for p, d, e in zip(centre, *plane, strict=True)]
        with with_parameters(parameters, place):
            losses[i, j] = objective.loss()
        if after is not None:
            after()
    return losses


def _lowest(first: Floats, second: Floats, losses: Floats) -> tuple[int, int] | None:
    """Returns the indices of the lowest point, of equal ones the nearest to the centre; None if every loss is NaN."""
    if np.isnan(losses).all():
        return None
    distance = np.hypot(first[:, None] / first[-1], second / second[-1])
    i, j = np.unravel_index(np.where(losses == np.nanmin(losses), distance, np.inf).argmin(), losses.shape)
    return int(i), int(j)


def _at(
    first: Floats, second: Floats, losses: Floats, place: tuple[int, int] | None
) -> tuple[tuple[float, float, float], bool]:
    """Returns the point at these indices (first, second, loss), and whether it lies on the border; NaN for None."""
    if place is None:
        return _NOWHERE, False
    i, j = place
    at_edge = i in (0, len(first) - 1) or j in (0, len(second) - 1)
    return (float(first[i]), float(second[j]), float(losses[i, j])), at_edge


def _fitted_minimum(
    first: Floats, second: Floats, losses: Floats, place: tuple[int, int] | None, rounding: float
) -> tuple[tuple[float, float, float], str]:
    """Returns the minimum (first, second, loss) of the quadratic around the lowest point, or NaN and why there is none.

    Curvature of at most `rounding`, as a share of the losses, is none.
    """
    around, gap = _around(losses, place)
    if place is None or around is None:
        return _NOWHERE, gap
    level, slope, curvature = quadratic = _quadratic_through(around)
    if np.linalg.eigvalsh(curvature)[0] <= rounding * np.abs(around).max():
        return _NOWHERE, "around the lowest point the loss is no bowl"
    offset = np.asarray(-np.linalg.solve(curvature, slope), float)
    at = np.array(place) + offset
    if (at < 0).any() or (at > np.array(losses.shape) - 1).any():
        return _NOWHERE, "the quadratic around the lowest point has its minimum beyond the slice"
    if not _holds(losses, place, offset, quadratic):
        return _NOWHERE, "the loss around the lowest point is no quadratic: it takes more points"
    a, b = (float(np.interp(i, np.arange(len(axis)), axis)) for i, axis in zip(at, (first, second), strict=True))
    return (a, b, float(level + slope @ offset / 2)), ""


def _around(losses: Floats, place: tuple[int, int] | None) -> tuple[Floats | None, str]:
    """Returns the losses [3, 3] around a point, or None and why they are not there."""
    if place is None:
        return None, "no loss of the slice is a number"
    i, j = place
    around = losses[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
    if around.shape != (3, 3):
        return None, "the lowest point lies on the edge: the loss may fall further outside"
    return (around, "") if np.isfinite(around).all() else (None, "losses beside the lowest point are not finite")


def _quadratic_through(around: Floats) -> tuple[float, Floats, Floats]:
    """Returns value, gradient [2] and Hessian [2, 2] at the centre of the quadratic nearest to losses [3, 3].

    Distances are steps of the grid.
    """
    x, y = (axis.ravel() for axis in np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], indexing="ij"))
    terms = np.stack([np.ones(9), x, y, x * x / 2, x * y, y * y / 2], axis=1)
    # Less their least: rounding of the fit is a share of what is fitted.
    level, a, b, aa, ab, bb = np.linalg.lstsq(terms, around.ravel() - around.min(), rcond=None)[0]
    return float(level + around.min()), np.array([a, b]), np.array([[aa, ab], [ab, bb]])


def _holds(losses: Floats, place: tuple[int, int], offset: Floats, quadratic: tuple[float, Floats, Floats]) -> bool:
    """Whether the losses around the lowest point and from there to the minimum are the quadratic's, see `_FITS`.

    In a valley aslant to the grid, its minimum may be several steps from the lowest point.
    """
    level, slope, curvature = quadratic
    end = np.array(place) + np.round(offset).astype(int)
    spans = [
        np.arange(max(min(a, b) - 1, 0), min(max(a, b) + 2, size))
        for a, b, size in zip(place, end, losses.shape, strict=True)
    ]
    steps = np.stack(np.meshgrid(*spans, indexing="ij"), axis=-1) - np.array(place)
    expected = level + steps @ slope + np.einsum("...i,ij,...j->...", steps, curvature, steps) / 2
    found = losses[np.ix_(*spans)]
    return bool(np.abs(found - expected).max() <= _FITS * np.ptp(found))
