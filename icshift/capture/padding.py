"""Positions to leave out: padding of sequences that were filled up to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icshift.errors import RecordingError


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


def padding(mask: Any) -> Padding:
    """From a boolean tensor that is true where activations are to be left out.

    Reads the mask's content, so on another device it waits for that, once a forward.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or not mask.ndim:
        found = f"a tensor of {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise RecordingError(
            f"mask must give a boolean tensor, true at positions to leave out, as [batch, time]: {found}"
        )
    return Padding(tuple(mask.shape), (~mask.detach()).flatten().nonzero().flatten())
