"""A hash of every row of a tensor, from the bits of some of its places; equal rows have equal hashes on any device.

All is integer arithmetic modulo 2^64, so that it is exact and costs the same for rows of any length.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from icshift import kernel_choice
from icshift.distribution import Ints

PLACES = 32
"""Places of a row that are looked at, at most: the same ones in all rows of that shape."""

MODULUS = 1 << 64

_SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_FIRST, _SECOND = -0x61C8864680B583EB, -0x3B314601E57A13AD
"""Odd numbers without a pattern in their bits, as signed integers: 2^64 over the golden ratio, and one of xxHash."""


@dataclass(frozen=True, eq=False)
class LookedAt:
    """So many `rows` of `row` values of `size` bytes, and of each the `drawn` places, which are multiplied with
    `factors`."""

    rows: int
    row: int
    size: int
    drawn: Ints
    factors: Ints


class RowHash:
    """Adds up the bits of rows, each place times an odd factor of its own; places and factors follow from `seed`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._drawn: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...], Any]] = {}

    def rows(self, tensor: Tensor, name: str) -> Any:
        """Returns a number [rows] for each row of a plain tensor along its first axis: int64, to be given to `mixed`.

        `name` tells tensors of one example apart: the numbers of all of them may be added. The result is an array of
        NumPy where the tensor is on the CPU, else a tensor on its device: there is no waiting for that.
        """
        tensor = tensor.detach()
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor.resolve_conj())
        contiguous, count = tensor.is_contiguous(), tensor.shape[0]
        values: Any = tensor.view(_SIGNED[tensor.element_size()])  # The bits, as an integer; no copy.
        on_cpu = tensor.device.type == "cpu"
        if on_cpu:
            values = values.numpy()
        flat, places, factors = self._places(name, tensor.shape[1:], None if on_cpu else tensor.device)
        # Without a copy of all of it where it is laid out in another order, as `channels_last`.
        if contiguous and on_cpu:
            drawn = values.reshape(count, -1).take(flat, axis=1)
        else:
            drawn = values.reshape(count, -1)[:, flat] if contiguous else values[(slice(None), *places)]
            drawn = drawn.reshape(count, -1)
        if tensor.element_size() == 8:
            drawn = drawn ^ (drawn >> 32)  # Round doubles differ in their high bits alone, which would be lost.
        # Converted first: NumPy multiplies integers of two types a third as fast.
        return np.vecdot(drawn.astype(np.int64), factors) if on_cpu else (drawn * factors).sum(1)

    def total(self, tensor: Tensor, name: str) -> int:
        """Returns the sum of what `mixed` makes of the numbers of all rows, of a plain tensor on the CPU."""
        return self.reader(tensor, name)(tensor)

    def reader(self, tensor: Tensor, name: str) -> Callable[[Tensor], int]:
        """Returns what does as `total` with tensors that lie in memory as this one does.

        The native kernel adds hashes up where the tensor is contiguous: one costs more to ask for than to compute.
        """
        at = self.looked_at(tensor, name)
        if at is None:
            return lambda like: int(mixed(self.rows(like, name)).sum())
        hash_rows, sizes, places = kernel_choice.compiled.hash_rows, (at.rows, at.row, at.size), len(at.drawn)
        return lambda like: int(hash_rows(like.data_ptr(), *sizes, at.drawn, at.factors, places))

    def looked_at(self, tensor: Tensor, name: str) -> LookedAt | None:
        """Returns what the native kernel looks at in tensors like this one, on the CPU; None where NumPy does."""
        if not (kernel_choice.uses_native() and tensor.is_contiguous()) or tensor.is_complex():
            return None
        flat, _, factors = self._places(name, tensor.shape[1:], None)
        return LookedAt(tensor.shape[0], prod(tensor.shape[1:]), tensor.element_size(), flat, factors)

    def _places(self, name: str, shape: torch.Size, device: torch.device | None) -> tuple[Any, tuple[Any, ...], Any]:
        """Returns the places of a row of this shape, counted through and by axis, and their factors."""
        key = name, shape, device
        if key not in self._drawn:
            size = prod(shape)
            random = np.random.default_rng([self._seed, crc32(name.encode()), *shape])
            factors = random.integers(-(1 << 63), 1 << 63, min(size, PLACES)) | 1
            flat = np.arange(size) if size <= PLACES else np.sort(random.choice(size, PLACES, replace=False))
            places = np.unravel_index(flat, shape) if shape else ()
            if device is None:
                self._drawn[key] = flat, places, factors
            else:
                there = [torch.from_numpy(part).to(device) for part in (flat, *places, factors)]
                self._drawn[key] = there[0], tuple(there[1:-1]), there[-1]
        return self._drawn[key]


def mixed(numbers: Any) -> Any:
    """Returns numbers without a pattern [rows], as unlike for rows that differ in a bit as for any others.

    Without it a sum over examples would be one over places, and exchanging values between examples would not show.
    """
    numbers = numbers ^ (numbers >> 32)
    numbers *= _FIRST
    numbers ^= numbers >> 29
    numbers *= _SECOND
    numbers ^= numbers >> 32
    return numbers
