"""Arrays as batches that are gathered when they are asked for: of more than memory holds there is one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch
from torch import Tensor

from icshift.inputs.batches import Batch, finite_examples, is_cuttable, with_each_tensor


@dataclass(frozen=True, eq=False)
class Shuffled(Sequence[Batch]):
    """Batches of arrays, the arguments of one forward for all examples.

    `numbers` of the examples of each batch, and `place`, which puts a tensor onto its device, as its type. Only the
    arrays stay in memory, and of a file that is mapped not even these: a batch is made anew each time.

    >>> pairs = Shuffled(((torch.arange(4.0),), {}), (torch.tensor([3, 1]), torch.tensor([0, 2])), torch.Tensor.double)
    >>> [positional[0].tolist() for positional, _ in pairs]
    [[3.0, 1.0], [0.0, 2.0]]
    """

    arrays: Batch
    numbers: tuple[Tensor, ...]
    place: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, which: int) -> Batch: ...
    @overload
    def __getitem__(self, which: slice) -> Shuffled: ...
    def __getitem__(self, which: int | slice) -> Batch | Shuffled:
        if isinstance(which, slice):
            return replace(self, numbers=self.numbers[which])
        numbers = self.numbers[which]
        gathered: Batch = with_each_tensor(
            self.arrays, lambda array: self.place(array[numbers.to(array.device)] if array.ndim else array)
        )
        return gathered

    @property
    def examples(self) -> int:
        """How many examples they hold together."""
        return sum(map(len, self.numbers))

    def in_pieces(self, pieces: int) -> Shuffled:
        """The same examples in the same order, in so many batches of almost equal size; in one that cannot be cut."""
        if not self.numbers:
            return self
        pieces = min(pieces, self.examples) if is_cuttable(self.arrays) else 1
        return replace(self, numbers=torch.cat(self.numbers).tensor_split(_edges(self.examples, pieces)))

    def finite(self) -> Shuffled:
        """Those of the examples that hold finite values; none of a batch that holds others and cannot be cut."""
        finite = map(finite_examples, self)
        kept = [rows[whole.cpu()] for rows, whole in zip(self.numbers, finite, strict=True) if whole is not None]
        return replace(self, numbers=tuple(filter(len, kept)))


def shuffled(arrays: Batch, order: Tensor, batch_size: int, place: Callable[[Tensor], Tensor]) -> Shuffled:
    """Returns the examples of arrays in this order, in batches of at most this size."""
    return Shuffled(arrays, (order,), place).in_pieces(math.ceil(len(order) / batch_size))


def _edges(examples: int, pieces: int) -> list[int]:
    return np.linspace(0, examples, pieces + 1).round().astype(int).tolist()[1:-1]
