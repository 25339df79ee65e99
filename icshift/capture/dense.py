"""Tensors of every kind as plain ones: what a hook is given is not always memory that NumPy can read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from icshift.errors import RecordingError

_PLAIN = (Tensor, torch.nn.Parameter)


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, of no subclass and of no function transform: `dense` has nothing to do."""
    return (
        type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not tensor.is_quantized
        and tensor.device.type != "meta"
    )


def dense(tensor: Tensor, axis: int | None) -> tuple[Tensor | None, int]:
    """A plain tensor of the same activations, and how many axes it has before those that the tensor itself has.

    Within `vmap` the mapped axes come first; call it within `torch._C._DisableFuncTorch`. Of a nested tensor only the
    values count, of a DTensor this process's part. None where there are no activations: on the meta device and in
    fake tensors. Raises `RecordingError` where they cannot be had, or where `axis`, that of the units, is split over
    processes.
    """
    if tensor.device.type == "meta" or _is(tensor, "FakeTensor", "FunctionalTensor"):
        return None, 0
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        return _out_of_transforms(tensor)
    if _is(tensor, "DTensor"):
        return _local(tensor, axis), 0
    if tensor.is_nested:
        if tensor.layout is not torch.jagged:
            raise RecordingError(
                "nested tensors are read in the jagged layout only: make them with layout=torch.jagged"
            )
        values = tensor.values()
        return values, values.ndim - tensor.ndim
    if tensor.is_quantized:
        return tensor.dequantize(), 0
    if tensor.layout is not torch.strided:
        raise RecordingError(f"its output is {tensor.layout}: only dense tensors are recorded; watch a module after it")
    return tensor.as_subclass(Tensor), 0


def _out_of_transforms(tensor: Tensor) -> tuple[Tensor, int]:
    functorch: Any = torch._C._functorch
    mapped = []
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            mapped.append(functorch.maybe_get_bdim(tensor))
        tensor = functorch.get_unwrapped(tensor)
    # Each axis is counted without those of the transforms within, which are moved to the front first.
    for moved, axis in enumerate(reversed(mapped)):
        tensor = tensor.movedim(axis + moved, 0)
    return tensor, len(mapped)


def _local(tensor: Any, axis: int | None) -> Tensor:
    for placement in tensor.placements:
        if placement.is_partial():
            raise RecordingError("its output is a partial sum, to be added up over processes; watch a module after it")
        if axis is not None and placement.is_shard(axis % tensor.ndim):
            raise RecordingError("its units are split over processes (tensor parallel); watch a module after it")
    return tensor.to_local()


def _is(tensor: Tensor, *names: str) -> bool:
    return type(tensor).__name__ in names
