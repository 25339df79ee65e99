"""Replaying one fixed set of inputs without disturbing the training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.model.modes import evaluating


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

    @property
    def forwards(self) -> int:
        """Batches that the examples are cut into."""
        return math.ceil(self.size / self.batch_size)

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


def send(model: nn.Module, probe: Probe) -> None:
    """Send the probe through the model once, in the mode that the model is in."""
    for positional, keyword in probe.batches():
        model(*positional, **keyword)


def rehearse(model: nn.Module, probe: Probe) -> None:
    """Fail before the training starts, not at the end of its first window: raises `RecordingError`."""
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        return
    try:
        with evaluating(model):
            send(model, probe)
    except Exception as error:
        raise RecordingError(f"the probe does not pass through {type(model).__name__}: {error}") from error
