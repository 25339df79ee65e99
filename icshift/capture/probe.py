"""Replaying one fixed set of inputs without disturbing the training."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icshift.errors import RecordingError


@dataclass(frozen=True, eq=False)
class Probe:
    """A fixed set of inputs, replayed at every window's end.

    `inputs`: a tensor, a tuple of positional or a mapping of keyword arguments; tensors among them are
    cut into batches of `batch_size` along their first axis, the rest is passed on as it is. Replayed in eval mode
    (phase `probe`) and, with `train_mode`, also in train mode (phase `probe-train`: normalisation by the probe's own
    batches).
    """

    inputs: Tensor | tuple[Any, ...] | Mapping[str, Any]
    batch_size: int = 256
    train_mode: bool = False

    @property
    def size(self) -> int:
        """Examples. Raises `RecordingError` where there is no tensor or tensors differ in length."""
        lengths = {len(value) for value in self._arguments().values() if isinstance(value, Tensor) and value.ndim}
        if len(lengths) != 1 or 0 in lengths:
            raise RecordingError(
                f"a probe needs tensors of one and the same length, at least 1; got lengths {sorted(lengths)}"
            )
        return lengths.pop()

    def batches(self) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """Positional and keyword arguments of each forward."""
        for start in range(0, self.size, self.batch_size):
            stop = start + self.batch_size
            cut = {
                # A copy, since a model that begins with an in-place operation would change the probe itself.
                name: value[start:stop].clone() if isinstance(value, Tensor) and value.ndim else value
                for name, value in self._arguments().items()
            }
            yield (
                [value for name, value in cut.items() if isinstance(name, int)],
                {name: value for name, value in cut.items() if isinstance(name, str)},
            )

    def _arguments(self) -> dict[int | str, Any]:
        if isinstance(self.inputs, Mapping):
            return {str(name): value for name, value in self.inputs.items()}
        return dict(enumerate(self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)))


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Puts modes, attributes, buffers and all random states back, whatever happens within; records no gradients."""
    modes = [(module, module.training) for module in model.modules()]
    places = [
        (place, dict(place))
        for module in model.modules()
        for place in (vars(module), module._buffers, module._parameters, module._modules)
        if isinstance(place, dict)
    ]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not nn.parameter.is_lazy(b)]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for place, before in places:
            for added in place.keys() - before.keys():
                del place[added]
            place.update(before)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in buffers:
                if buffer.shape != value.shape:
                    buffer.resize_(value.shape)
                buffer.detach().copy_(value)


def replay(model: nn.Module, probe: Probe, *, training: bool) -> None:
    """Send the probe through the model once, in the given mode; only within `undisturbed`."""
    for module in model.modules():
        module.training = training
    for positional, keyword in probe.batches():
        model(*positional, **keyword)


def rehearse(model: nn.Module, probe: Probe) -> None:
    """Fail before the training starts, not at the end of its first window: raises `RecordingError`."""
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        return
    try:
        with undisturbed(model):
            replay(model, probe, training=False)
    except Exception as error:
        raise RecordingError(f"the probe does not pass through {type(model).__name__}: {error}") from error
