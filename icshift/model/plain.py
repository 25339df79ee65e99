"""Plain tensors: dense memory that NumPy can read, out of whatever tensor a hook is given.

A hook may be given a subclass (DTensor, a fake tensor), a tensor within `vmap`, a nested, sparse or quantised one. What
their activations are, and where none can be had, is decided here alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.model.torch_private import is_in_transform, out_of_transforms, ragged_axis

_PLAIN = (Tensor, torch.nn.Parameter)


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is plain already, so that `dense` would return it as it is."""
    return (
        type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and not is_in_transform(tensor)
        and not tensor.is_quantized
        and not tensor.is_nested
        and not tensor.is_neg()
        and not tensor.is_meta
    )


def dense(tensor: Tensor) -> tuple[Tensor | None, int]:
    """A plain tensor of the same activations, without gradients, and how many axes it has before those of `tensor`.

    Within `vmap` the mapped axes come first and count as such. A nested tensor gives its values, which lack its first
    axis: the count is -1. A DTensor gives this process's part. The result is None where there are no activations, on
    the meta device and in fake tensors. Raises `RecordingError` where they cannot be had. Call it within `unseen`.

    >>> dense(torch.zeros(4, 3))
    (tensor([[0., 0., 0.],
            [0., 0., 0.],
            [0., 0., 0.],
            [0., 0., 0.]]), 0)
    """
    if tensor.is_meta or _is(tensor, "FakeTensor", "FunctionalTensor"):
        return None, 0
    if is_in_transform(tensor):
        unwrapped, mapped = out_of_transforms(tensor)
        plain, leading = dense(unwrapped)
        return plain, mapped + leading
    tensor = tensor.detach()
    if _is(tensor, "DTensor"):
        tensor = _local(tensor)
    if _is(tensor, "AsyncCollectiveTensor"):
        tensor = tensor.trigger_wait()  # type: ignore[attr-defined]
    if tensor.is_nested:
        return _values(tensor), -1
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout is not torch.strided:
        raise RecordingError(f"its output is {tensor.layout}: only dense tensors are recorded; watch a module after it")
    if type(tensor).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        raise RecordingError(f"its output is a {type(tensor).__name__}, which wraps others; watch a module after it")
    return tensor.as_subclass(Tensor).resolve_neg(), 0


def refuse_split(module: nn.Module, tensor: Tensor, axis: int) -> None:
    """Raises `RecordingError` where `axis`, that of the units, is split over processes.

    Tensor parallel layers may give their part as a plain tensor: it has fewer units than the layer says it has.
    """
    split = _is(tensor, "DTensor") and any(placement.is_shard(axis) for placement in tensor.placements)  # type: ignore[attr-defined]
    if not split and any(_is(parameter, "DTensor") for parameter in module.parameters(recurse=False)):
        declared = (getattr(module, name, None) for name in ("out_features", "out_channels", "embedding_dim"))
        split = any(isinstance(units, int) and tensor.shape[axis] < units for units in declared)
    if split:
        raise RecordingError("its units are split over processes (tensor parallel); watch a module after it")


def _local(tensor: Any) -> Tensor:
    """The part of a DTensor that this process holds."""
    if any(placement.is_partial() for placement in tensor.placements):
        raise RecordingError("its output is a partial sum, to be added up over processes; watch a module after it")
    return tensor.to_local()


def _values(tensor: Any) -> Tensor:
    """The sequences of a nested tensor, one after the other along the first axis."""
    if tensor.layout is torch.jagged and ragged_axis(tensor) != 1:
        raise RecordingError(
            f"its sequences lie on axis {ragged_axis(tensor) or 'unknown'}: they are read on axis 1 only"
        )
    if tensor.layout is torch.jagged and tensor.lengths() is None:
        return tensor.values()
    # Those in the older layout, and those with holes between their sequences.
    return torch.cat(tensor.unbind())


def _is(tensor: Tensor, *names: str) -> bool:
    return type(tensor).__name__ in names
