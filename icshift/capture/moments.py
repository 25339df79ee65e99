"""Exact moments of every activation: one pass where the numbers allow, more where they do not.

`activations` is [groups, rows, units] or [groups, rows, units, positions]: one group a step. The first pass sums
values and squares as they are (about 0.4 ns a value together with both extremes). That is wrong where a mean is far
from zero in units of its spread (a mean of 1e6 with a spread of 1e-3): then a second pass reads deviations from the
mean. It is also wrong for non-finite values, of which a non-finite sum is the cheap sign: units that have them are
read again, masked. On other devices than the CPU, where looking at a sum would wait for the device, the masked passes
are taken at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from icshift.capture.workspace import Workspace
from icshift.distribution import Floats, Ints

_OFF_CENTRE = 8.0
"""A mean of more than so many standard deviations calls for the second, centred pass."""


_CENTRED_VALUES = 1 << 18


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments [groups, units] of activations: `squares` is the sum of squared deviations from the mean.

    `count` is of finite values, `nonfinite` of the others, which are in nothing else. A unit with no
    finite value has mean 0, squares 0, min +inf and max -inf, so that merging needs no special case.
    """

    count: Ints
    nonfinite: Ints
    mean: Floats
    squares: Floats
    min: Floats
    max: Floats

    def group(self, index: int) -> Moments:
        """One group of several, still with a groups axis."""
        return Moments(**{name: getattr(self, name)[[index]] for name in self.__dataclass_fields__})

    def total(self) -> Moments:
        """All groups as one (Chan, Golub & LeVeque 1979)."""
        count = self.count.sum(0, keepdims=True)
        mean = (self.count * self.mean).sum(0, keepdims=True) / np.maximum(count, 1)
        between = (self.count * (self.mean - mean) ** 2).sum(0, keepdims=True)
        return Moments(
            count=count,
            nonfinite=self.nonfinite.sum(0, keepdims=True),
            mean=mean,
            squares=self.squares.sum(0, keepdims=True) + between,
            min=self.min.min(0, keepdims=True),
            max=self.max.max(0, keepdims=True),
        )


def stack(parts: list[Moments]) -> Moments:
    """Groups of several as the groups of one."""
    names = Moments.__dataclass_fields__
    return Moments(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def moments(activations: Tensor, workspace: Workspace) -> list[Tensor]:
    """Count, non-finite count, mean, squares, min and max, each [groups, units] on the activations' device."""
    if activations.dtype not in (torch.float32, torch.float64):
        activations = activations.float()
    if activations.device.type != "cpu":
        return _careful(activations)
    return _fast(activations, workspace)


def from_tensors(parts: list[Tensor]) -> Moments:
    """What `moments` gave, once it is on the host."""
    count, nonfinite, mean, squares, low, high = (part.numpy() for part in parts)
    return Moments(count.astype(np.int64), nonfinite.astype(np.int64), mean, squares, low, high)


def _fast(activations: Tensor, workspace: Workspace) -> list[Tensor]:
    groups, rows, units = activations.shape[:3]
    n = activations.numel() // max(groups * units, 1)
    if not n:
        return _careful(activations)
    mean = _sum(activations) / n
    squares = _sum_of_squares(activations)
    with np.errstate(invalid="ignore", over="ignore"):
        squares = squares - n * mean**2
        off_centre = (squares * _OFF_CENTRE**2 < n * mean**2).any()
    if off_centre:
        centre = torch.from_numpy(mean).to(activations.dtype)
        total, squares = np.zeros_like(mean), np.zeros_like(mean)
        spread = centre.reshape(groups, 1, units, *[1] * (activations.ndim - 3))
        for part in activations.split(max(1, _CENTRED_VALUES * rows // activations.numel()), dim=1):
            memory = workspace.take("centred", tuple(part.shape), part.numpy().dtype)
            centred = torch.sub(part, spread, out=torch.from_numpy(memory))
            total += _sum(centred)
            squares += _sum_of_squares(centred)
        mean = centre.double().numpy() + total / n
        squares -= total**2 / n
    low, high = activations, activations
    if activations.ndim == 4:
        low, high = low.amin(3), high.amax(3)
    result = [
        torch.full((groups, units), float(n), dtype=torch.float64),
        torch.zeros((groups, units), dtype=torch.float64),
        torch.from_numpy(mean),
        torch.from_numpy(squares),
        low.amin(1).double(),
        high.amax(1).double(),
    ]
    if not np.isfinite(squares).all():
        broken = torch.from_numpy(np.flatnonzero(~np.isfinite(squares).all(0)))
        for whole, part in zip(result, _careful(activations[:, :, broken]), strict=True):
            whole[:, broken] = part
    return result


def _sum(activations: Tensor) -> Floats:
    """Sums [groups, units] in float64; the innermost axis is added up in the tensor's own precision."""
    if activations.ndim == 3:
        return activations.sum(1).double().numpy()
    return activations.sum(3).double().sum(1).numpy()


def _sum_of_squares(activations: Tensor) -> Floats:
    values = activations.numpy()
    if values.ndim == 3:
        return np.einsum("gnu,gnu->gu", values, values).astype(float)
    return np.vecdot(values, values).sum(1, dtype=float)


def _careful(activations: Tensor) -> list[Tensor]:
    """Two passes, masked and centred; nothing here waits for the device."""
    values = activations.double() if activations.ndim == 4 else activations.double()[..., None]
    finite = values.isfinite()
    count = finite.sum((1, 3))
    mean = torch.where(finite, values, 0.0).sum((1, 3)) / count.clamp(min=1)
    centred = torch.where(finite, values - mean[:, None, :, None], 0.0)
    squares = centred.square().sum((1, 3))
    if values.numel():
        low = torch.where(finite, values, torch.inf).amin((1, 3))
        high = torch.where(finite, values, -torch.inf).amax((1, 3))
    else:
        low, high = torch.full_like(mean, torch.inf), torch.full_like(mean, -torch.inf)
    nonfinite = values.shape[1] * values.shape[3] - count
    return [count.double(), nonfinite.double(), mean, squares, low, high]
