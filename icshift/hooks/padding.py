"""Padding: positions of a batch to leave out, where sequences were filled up to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icshift.errors import RecordingError
from icshift.model.plain import dense
from icshift.model.torch_private import unseen

_EXPECTED = "mask must give a boolean tensor, true at positions to leave out, as [batch, time]"


@dataclass(frozen=True, eq=False)
class Padding:
    """Which positions of a forward's batch are kept, for a mask of this shape, [batch, time] or [batch].

    `kept` holds the flat indices [n] of the positions that are no padding.

    >>> mask = torch.tensor([[False, True], [False, False]])
    >>> known = padding(mask)
    >>> known.kept
    tensor([0, 2, 3])
    >>> known.without(torch.arange(4.0).reshape(2, 2, 1), axis=2)
    tensor([[0.],
            [2.],
            [3.]])
    """

    shape: tuple[int, ...]
    kept: Tensor

    def without(self, activations: Tensor, axis: int) -> Tensor | None:
        """Returns the activations as [n, units] without padding, or None where their axes are not the mask's.

        `axis` is the unit axis. The others must begin with the mask's shape, or with all of its positions in one axis.
        """
        rest = (*activations.shape[:axis], *activations.shape[axis + 1 :])
        if rest[: len(self.shape)] != self.shape and rest[:1] != (self.size,):
            return None
        rows = activations.movedim(axis, -1).reshape(self.size, -1, activations.shape[axis])
        return rows.index_select(0, self.kept.to(rows.device)).flatten(0, 1)

    @property
    def size(self) -> int:
        """How many positions there are, padding or not."""
        return torch.Size(self.shape).numel()


def padding(mask: Any) -> Padding | None:
    """Returns the padding that a mask says: a boolean tensor, true at positions to leave out.

    None for a mask without values (on the meta device, or fake). Raises `RecordingError` if it is something else: what
    the user's function returned, or the exception that it raised. It reads the content of the mask: where that lies on
    a GPU it waits for it, once a forward.
    """
    if isinstance(mask, Exception):
        raise RecordingError(f"{type(mask).__name__}: {mask}") from mask
    if not isinstance(mask, Tensor):
        raise RecordingError(f"{_EXPECTED}: {type(mask).__name__}")
    with unseen():
        plain, _ = dense(mask)
        if mask.dtype != torch.bool or (plain is not None and not plain.ndim):
            raise RecordingError(f"{_EXPECTED}: a tensor of {mask.dtype} with {mask.ndim} axes")
        return None if plain is None else Padding(tuple(plain.shape), (~plain).flatten().nonzero().flatten())
