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
            raise RecordingError(f"a probe needs tensors of one and the same length, at least 1; got lengths {sorted(lengths)}")
        return lengths.pop()

    def batches(self) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """Positional and keyword arguments of each forward."""
        for start in range(0, self.size, self.batch_size):
            stop = start + self.batch_size
            cut = {
                name: value[start:stop] if isinstance(value, Tensor) and value.ndim else value
                for name, value in self._arguments().items()
            }
            yield (
                [value for name, value in cut.items() if isinstance(name, int)],
                {name: value for name, value in cut.items() if isinstance(name, str)},
            )

    def _arguments(self) -> dict[int | str, Any]:
        if isinstance(self.inputs, Mapping):
            return dict(self.inputs)
        return dict(enumerate(self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)))


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Puts modes, buffers and all random states back, whatever happens within; no gradients are recorded."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
    ]
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        for module, training in modes:
            module.training = training
        for module, name, buffer, value in buffers:
            module._buffers[name] = buffer
            if buffer is not None and value is not None:
                buffer.detach().copy_(value)


def replay(model: nn.Module, probe: Probe, *, training: bool) -> None:
    """Send the probe through the model once, in the given mode; only within `undisturbed`."""
    for module in model.modules():
        module.training = training
    for positional, keyword in probe.batches():
        model(*positional, **keyword)
