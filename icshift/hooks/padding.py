"""Positions to leave out: padding of sequences that were filled up to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icshift.errors import RecordingError
from icshift.model.plain import dense, unseen

_EXPECTED = "mask must give a boolean tensor, true at positions to leave out, as [batch, time]"


@dataclass(frozen=True, eq=False)
class Padding:
    """Of a forward: the shape of its mask and the flat places [n] that are kept."""

    shape: tuple[int, ...]
    kept: Tensor

    def without(self, activations: Tensor, axis: int) -> Tensor | None:
        """Activations as [n, units], padding left out; None where they have no axes of the mask's shape.

        The axes other than the unit axis are compared: they must begin with the mask's shape, or be the mask made flat.
        """
        rest = (*activations.shape[:axis], *activations.shape[axis + 1 :])
        if rest[: len(self.shape)] != self.shape and rest[:1] != (self.size,):
            return None
        rows = activations.movedim(axis, -1).reshape(self.size, -1, activations.shape[axis])
        return rows.index_select(0, self.kept.to(rows.device)).flatten(0, 1)

    @property
    def size(self) -> int:
        """Positions, kept or not."""
        return torch.Size(self.shape).numel()


def padding(mask: Any) -> Padding | None:
    """From a boolean tensor that is true where activations are to be left out; None from one without values.

    Raises `RecordingError` if it is something else, as the exception that was raised in place of a mask. Reads the
    mask's content, so on another device it waits for that, once a forward.
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
