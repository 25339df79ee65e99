"""Exact moments of every activation: one pass where the numbers allow, more where they do not.

`activations` is [groups, rows, units] or [groups, rows, units, positions]: one group a step. The first pass sums values
and squares as they are (about 0.4 ns a value together with both extremes). That is wrong where a mean is far from zero
in units of its spread (a mean of 1e6 with a spread of 1e-3): then a second pass reads deviations from the mean. It is
also wrong for non-finite values, of which a non-finite sum is the cheap sign: units that have them are read again,
masked. On other devices than the CPU, where looking at a sum would wait for the device, the masked passes are taken at
once.

Squares of float64 leave its range (values of 1e200), and those of float32 vanish in it (of 1e-25). What is returned are
therefore the root of their sum, and such values are squared in float64, divided by the largest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from icshift.distribution import Floats
from icshift.sketch.workspace import Workspace

_OFF_CENTRE = 8.0
"""A mean of more than so many standard deviations calls for the second, centred pass."""

_SQUARES_FIT = {torch.float32: 1e-15, torch.float64: 1e-150}
"""Values that differ by less have squares that vanish in their type."""

_CENTRED_VALUES = 1 << 18
"""Values that are centred at a time."""


_PARTIAL = 1024
"""Rows that are added up in the activations' own precision before float64 takes over."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of activations as one `table` [6, groups, units] of float64.

    `count` is of finite values, `nonfinite` of the others, which are in nothing else. `deviation` is the root of the
    sum of squared deviations from the mean. A unit with no finite value has mean 0, deviation 0, min +inf and max
    -inf, so that merging needs no special case.
    """

    table: Floats

    @property
    def count(self) -> Floats:
        """Finite activations."""
        return self.table[0]

    @property
    def nonfinite(self) -> Floats:
        """Activations that are NaN or infinite."""
        return self.table[1]

    @property
    def mean(self) -> Floats:
        """Mean of the finite ones."""
        return self.table[2]

    @property
    def deviation(self) -> Floats:
        """Root of the sum of squared deviations from the mean."""
        return self.table[3]

    @property
    def min(self) -> Floats:
        """Smallest finite one."""
        return self.table[4]

    @property
    def max(self) -> Floats:
        """Largest finite one."""
        return self.table[5]

    def group(self, index: int) -> Moments:
        """Returns one of several groups, with a groups axis of length 1."""
        return Moments(self.table[:, index : index + 1])

    def total(self) -> Moments:
        """Returns all groups as one, with a groups axis of length 1 (Chan, Golub & LeVeque 1979)."""
        table = np.empty((6, 1, self.table.shape[2]))
        table[:2, 0] = self.table[:2].sum(1)
        power = np.frexp(np.maximum(np.abs(self.mean).max(0), self.deviation.max(0)))[1]
        means = np.ldexp(self.mean, -power)
        mean = (self.count * means).sum(0) / np.maximum(table[0, 0], 1)
        table[2, 0] = np.ldexp(mean, power)
        squares = (np.ldexp(self.deviation, -power) ** 2).sum(0) + (self.count * (means - mean) ** 2).sum(0)
        table[3, 0] = np.ldexp(np.sqrt(squares), power)
        table[4, 0] = self.min.min(0)
        table[5, 0] = self.max.max(0)
        return Moments(table)


def stack(parts: Sequence[Moments]) -> Moments:
    """Returns the groups of all parts, one after another."""
    return Moments(np.concatenate([part.table for part in parts], axis=1))


@np.errstate(all="ignore")
def moments(activations: Tensor, workspace: Workspace) -> Tensor:
    """Returns the table of `Moments` [6, groups, units] of activations, on their device.

    `from_tensor` takes it once it is on the host. float16 and bfloat16 are computed in float32.
    """
    if activations.dtype not in (torch.float32, torch.float64):
        activations = activations.float()
    if activations.device.type != "cpu" or not activations.numel():
        return _masked(activations)
    table = _read_once(activations)
    count, mean, squares, low, high = table[0], table[2], table[3], table[4], table[5]
    weight = count * mean
    weight *= mean
    squares -= weight
    vanishing = (high > low) & (high - low < _SQUARES_FIT[activations.dtype])
    if not ((squares * _OFF_CENTRE**2 >= weight) & np.isfinite(squares)).all():
        _read_centred(activations, table, workspace)
    broken = np.flatnonzero((vanishing | ~np.isfinite(squares)).any(0))
    np.sqrt(np.maximum(squares, 0.0, out=squares), out=squares)
    if len(broken):
        table[:, :, broken] = _masked(activations[:, :, torch.from_numpy(broken)]).numpy()
    return torch.from_numpy(table)


def from_tensor(table: Tensor) -> Moments:
    """Returns what `moments` computed, once its table is on the host."""
    return Moments(table.numpy())


def _read_once(activations: Tensor) -> Floats:
    """The table of one pass, with the sum of the squares themselves in the place of `squares`."""
    groups, _, units = activations.shape[:3]
    table = np.empty((6, groups, units))
    n = activations.numel() // (groups * units)
    table[0] = n
    table[1] = 0
    np.divide(_sum(activations), n, out=table[2])
    table[3] = _sum_of_squares(activations)
    if activations.ndim == 3:
        # Down columns NumPy reads memory in its order and is two to three times as fast; along rows PyTorch is.
        values = activations.numpy()
        table[4] = values.min(1)
        table[5] = values.max(1)
    else:
        table[4] = activations.amin(3).amin(1).numpy()
        table[5] = activations.amax(3).amax(1).numpy()
    return table


def _read_centred(activations: Tensor, table: Floats, workspace: Workspace) -> None:
    """Read again, as deviations from the mean, and put mean and squares right."""
    count, mean = table[0], table[2]
    groups, rows, units = activations.shape[:3]
    centre = torch.from_numpy(mean).to(activations.dtype)
    spread = centre.reshape(groups, 1, units, *[1] * (activations.ndim - 3))
    total, squares = np.zeros_like(mean), np.zeros_like(mean)
    for part in activations.split(max(1, _CENTRED_VALUES * rows // activations.numel()), dim=1):
        memory = workspace.take("centred", tuple(part.shape), part.numpy().dtype)
        centred = torch.sub(part, spread, out=torch.from_numpy(memory))
        total += _sum(centred)
        squares += _sum_of_squares(centred)
    table[2] = centre.double().numpy() + total / count
    table[3] = squares - total**2 / count


def _sum(activations: Tensor) -> Floats:
    """Sums [groups, units] in float64 of partial sums of at most `_PARTIAL` rows or positions."""
    if activations.ndim == 4:
        return activations.sum(3).numpy().sum(1, dtype=float)
    values = activations.numpy()
    parts = [values[:, start : start + _PARTIAL] for start in range(0, values.shape[1], _PARTIAL)]
    return np.sum([part.sum(1) for part in parts], axis=0, dtype=float)


def _sum_of_squares(activations: Tensor) -> Floats:
    values = activations.numpy()
    if values.ndim == 4:
        return np.vecdot(values, values).sum(1, dtype=float)
    parts = [values[:, start : start + _PARTIAL] for start in range(0, values.shape[1], _PARTIAL)]
    return np.sum([np.einsum("gnu,gnu->gu", part, part) for part in parts], axis=0, dtype=float)


def _masked(activations: Tensor) -> Tensor:
    """Two passes, masked and centred, in float64; nothing here waits for the device."""
    values = activations.double() if activations.ndim == 4 else activations.double()[..., None]
    finite = values.isfinite()
    count = finite.sum((1, 3)).double()
    low, high = torch.full_like(count, torch.inf), torch.full_like(count, -torch.inf)
    if values.numel():
        low = torch.where(finite, values, torch.inf).amin((1, 3))
        high = torch.where(finite, values, -torch.inf).amax((1, 3))
    values = torch.where(finite, values, 0.0)
    # By a power of two, which rounds nothing: with values up to 1 no sum or square leaves the range.
    power = torch.frexp(torch.where(count > 0, torch.maximum(low.abs(), high.abs()), 0.0)).exponent
    values = _times_power(values, -power[:, None, :, None])
    mean = values.sum((1, 3)) / count.clamp(min=1)
    squares = torch.where(finite, values - mean[:, None, :, None], 0.0).square().sum((1, 3))
    nonfinite = values.shape[1] * values.shape[3] - count
    return torch.stack([count, nonfinite, _times_power(mean, power), _times_power(squares.sqrt(), power), low, high])


def _times_power(values: Tensor, power: Tensor) -> Tensor:
    """Returns values times 2**power; in two halves, since the power itself may be beyond the range."""
    half = power // 2
    return values * torch.exp2(half.double()) * torch.exp2((power - half).double())
