"""A probe: one fixed set of inputs that is sent through the model at the end of every window."""

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
    """A fixed set of inputs, sent through the model at every window's end: its drift has no sampling noise.

    `inputs` are a tensor, a tuple of positional or a mapping of keyword arguments. Tensors among them are cut into
    batches of `batch_size` examples along their first axis, the rest is passed on as it is. They are sent in eval mode
    (phase `probe`) and, with `train_mode`, also with the whole model in training mode (phase `probe-train`: batch norm
    normalises by the probe's own batches, dropout drops). The training is not disturbed.

    >>> import icshift, torch
    >>> probe = icshift.Probe({"x": torch.ones(5, 3), "scale": 2.0}, batch_size=2)
    >>> probe.size, probe.forwards
    (5, 3)
    >>> for positional, keyword in probe.batches():
    ...     print(positional, list(keyword["x"].shape), keyword["scale"])
    [] [2, 3] 2.0
    [] [2, 3] 2.0
    [] [1, 3] 2.0
    """

    inputs: Tensor | tuple[Any, ...] | Mapping[str, Any]
    batch_size: int = 256
    train_mode: bool = False

    @property
    def size(self) -> int:
        """The number of examples. Raises `RecordingError` where there is no tensor, or tensors differ in length."""
        lengths = {len(value) for value in self._arguments().values() if isinstance(value, Tensor) and value.ndim}
        if len(lengths) != 1 or 0 in lengths:
            raise RecordingError(
                f"a probe needs tensors of one and the same length, at least 1; got lengths {sorted(lengths)}"
            )
        return lengths.pop()

    @property
    def forwards(self) -> int:
        """The number of batches that the examples are cut into."""
        return math.ceil(self.size / self.batch_size)

    def batches(self) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """Yields the positional and the keyword arguments of each forward."""
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
    """Send the probe through the model once, in the mode that the model is in; raises what the model raises."""
    for positional, keyword in probe.batches():
        model(*positional, **keyword)


def rehearse(model: nn.Module, probe: Probe) -> None:
    """Raise `RecordingError` before the training starts, not at the end of its first window, if the probe does not fit.

    A model with lazy parameters is not tried: they would be made to fit the probe.
    """
    if any(nn.parameter.is_lazy(parameter) for parameter in model.parameters()):
        return
    try:
        with evaluating(model):
            send(model, probe)
    except Exception as error:
        raise RecordingError(f"the probe does not pass through {type(model).__name__}: {error}") from error
