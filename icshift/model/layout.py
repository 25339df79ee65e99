"""Where the units of a tensor are, and how its activations are laid out as [rows, units, positions]."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from icshift.model import keras_layers
from icshift.model.torch_private import AVERAGING, CONVOLUTION

_CHANNEL_FIRST = (
    CONVOLUTION,
    AVERAGING,
    nn.GroupNorm,
)
_ALONG_A_LINE = tuple(
    getattr(nn, name)
    for name in (
        *("MaxPool1d", "MaxUnpool1d", "AvgPool1d", "LPPool1d", "AdaptiveAvgPool1d", "AdaptiveMaxPool1d"),
        *("ReflectionPad1d", "ReplicationPad1d", "CircularPad1d", "ConstantPad1d", "ZeroPad1d"),
        *("Dropout1d", "Dropout2d", "FeatureAlphaDropout"),
        *("Upsample", "ChannelShuffle", "LocalResponseNorm"),
    )
    if hasattr(nn, name)  # Some are younger than the oldest torch.
)
"""Layers that take three axes for example, channel, position. Two may be an example alone or, as often, a batch of
vectors, and three of what pools a plane as well: there nothing tells them apart."""
_BEFORE_THE_REST = {
    1: (nn.InstanceNorm1d, nn.Unfold),
    2: (nn.InstanceNorm2d, nn.Fold, nn.PixelShuffle, nn.PixelUnshuffle, nn.Softmax2d),
    3: (nn.InstanceNorm3d,),
}
"""Layers whose channels are followed by so many axes, whether an axis of examples is before them or not."""
_UNIT_LAST = (
    nn.Linear,
    nn.Bilinear,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.MultiheadAttention,
    nn.RNNBase,
)
_FIRST_ALONE = (nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


def unit_axis(module: nn.Module, ndim: int) -> int:
    """The axis that runs over units, counted from 0; `ndim` is the output's number of axes, at least 1.

    Convolution, batch, instance and group normalisation, a PReLU of several parameters, `Fold`, `Unfold` and the
    shuffles of pixels: the channel. Of three axes also what pools, pads, drops or resizes along a line. A GLU: the
    axis that it halves. Linear, layer normalisation, embedding, attention and recurrent layers: the last axis. Layers
    of Keras: as they say. Anything else: the last axis up to 3 axes, axis 1 from 4.

    >>> unit_axis(nn.Conv2d(3, 8, 3), 4), unit_axis(nn.Linear(3, 8), 3), unit_axis(nn.ReLU(), 4)
    (1, 2, 1)
    """
    if keras_layers.is_layer(module):
        return keras_layers.unit_axis(module, ndim)
    if isinstance(module, CONVOLUTION):
        return ndim - len(module.kernel_size) - 1
    if isinstance(module, _UNIT_LAST):
        return ndim - 1
    if isinstance(module, nn.GLU) and -ndim <= module.dim < ndim:
        return module.dim % ndim
    for after, kinds in _BEFORE_THE_REST.items():
        if isinstance(module, kinds) and ndim > after:
            return ndim - after - 1
    return min(1, ndim - 1) if ndim >= 4 or _has_channels_first(module, ndim) else ndim - 1


def _has_channels_first(module: nn.Module, ndim: int) -> bool:
    if isinstance(module, nn.PReLU):
        return module.num_parameters > 1
    return isinstance(module, _CHANNEL_FIRST) or (ndim == 3 and isinstance(module, _ALONG_A_LINE))


def by_unit(tensor: Tensor, axis: int) -> Tensor:
    """The activations of a tensor as [rows, units], or as [rows, units, positions] where axes follow the unit axis.

    Where the units are innermost in memory (also in channels_last tensors) all other axes become rows. There is no copy
    where strides allow it. The tensor must not be empty.

    >>> by_unit(torch.zeros(32, 8, 5, 5), 1).shape, by_unit(torch.zeros(32, 10, 8), 2).shape
    (torch.Size([32, 8, 25]), torch.Size([320, 8]))
    """
    units = tensor.shape[axis]
    if axis == tensor.ndim - 1:
        return tensor if tensor.ndim == 2 else tensor.reshape(-1, units)
    if not tensor.is_contiguous():
        innermost = tensor.movedim(axis, -1)
        if innermost.is_contiguous():
            return innermost.reshape(-1, units)
    return tensor.reshape(math.prod(tensor.shape[:axis]), units, -1)


def tensors(module: nn.Module, output: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor of an output after the suffix that names it: `[0]`, `.logits`, `["h"]`, or "" for the output.

    A complex tensor gives two, `.real` and `.imag`. Of recurrent layers only the output sequence counts: the final
    state repeats its last values. Of attention, only what is attended to: its weights belong to positions of the
    sequence and not to units.

    >>> [suffix for suffix, _ in tensors(nn.Identity(), {"logits": torch.zeros(2), "states": (torch.zeros(2),)})]
    ['.logits', '.states[0]']
    """
    if isinstance(output, Tensor):
        if output.is_complex() and output.layout is torch.strided and not output.is_nested:
            # Not `imag`: of a conjugate it would have to be negated when it is read, which `vmap` cannot do.
            parts = torch.view_as_real(output.resolve_conj())
            yield ".real", parts[..., 0]
            yield ".imag", parts[..., 1]
        else:
            yield "", output
    elif isinstance(output, PackedSequence):
        yield "", output.data
    elif isinstance(output, (tuple, list)) and output and _gives_first_alone(module, output):
        yield from tensors(module, output[0])
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _suffixed(module, f".{key}" if str(key).isidentifier() else f"[{key!r}]", value)
    elif isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", None)
        for place, value in enumerate(output):
            yield from _suffixed(module, f".{names[place]}" if names else f"[{place}]", value)
    elif is_dataclass(output) and not isinstance(output, type):
        for field in fields(output):
            yield from _suffixed(module, f".{field.name}", getattr(output, field.name, None))


def _gives_first_alone(module: nn.Module, output: Any) -> bool:
    return (isinstance(module, _FIRST_ALONE) and isinstance(output, tuple)) or keras_layers.gives_first_alone(module)


def _suffixed(module: nn.Module, suffix: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    for deeper, tensor in tensors(module, value):
        yield suffix + deeper, tensor
