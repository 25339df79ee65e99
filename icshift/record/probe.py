"""A probe: one fixed set of inputs that is sent through the model at the end of every window."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.given import truth, whole
from icshift.hooks.batch_norm import averaging, evaluating_as_trained
from icshift.model.keras_layers import telling, waits_for_inputs
from icshift.model.modes import evaluating, in_training_mode
from icshift.model.names import modules, parameters
from icshift.runs.phases import PROBE, PROBE_RUNNING, PROBE_TRAIN


@dataclass(frozen=True, eq=False)
class Probe:
    """A fixed set of inputs, sent through the model at every window's end: its drift has no sampling noise.

    `inputs` are a tensor, a tuple of positional or a mapping of keyword arguments. Tensors among them are cut into
    batches of `batch_size` examples along their first axis, lists of tensors between their tensors, of which each is an
    example (as detectors take images); the rest is passed on as it is. The training is not disturbed.

    They are sent in eval mode (phase `probe`), but for layers with running averages, which normalise as in training:
    batch norm by the statistics of all the probe's inputs, instance norm by the instance. So what moves there are the
    parameters. Layers that the training keeps in eval mode use their running averages, as there. With `running` all
    use these in a phase more (`probe-running`), as the model does when it is deployed; with `train_mode` the whole
    model is in training mode in another (`probe-train`: batch norm by the probe's own batches, dropout drawn anew).

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

    inputs: Tensor | list[Tensor] | tuple[Any, ...] | Mapping[str, Any]
    batch_size: int = 256
    train_mode: bool = False
    running: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch_size", whole("batch_size", self.batch_size, 1))
        object.__setattr__(self, "train_mode", truth("train_mode", self.train_mode))
        object.__setattr__(self, "running", truth("running", self.running))

    @property
    def size(self) -> int:
        """The number of examples. Raises `RecordingError` where there is no tensor, or tensors differ in length."""
        lengths = {len(value) for value in self._arguments().values() if _holds_examples(value)}
        if len(lengths) != 1 or 0 in lengths:
            raise RecordingError(
                f"a probe needs tensors, or lists of tensors, of one and the same length, at least 1: "
                f"got {f'lengths {sorted(lengths)}' if lengths else type(self.inputs).__name__}"
            )
        return lengths.pop()

    @property
    def fingerprint(self) -> str:
        """A hash of every tensor in order, of 16 hexadecimal digits: other inputs have another one."""
        digest = sha256()
        for name, value in self._arguments().items():
            for tensor in [value] if isinstance(value, Tensor) else value if _holds_examples(value) else ():
                array = tensor.detach().cpu().contiguous()
                digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
                digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def forwards(self) -> int:
        """The number of batches that the examples are cut into."""
        return math.ceil(self.size / self.batch_size)

    def batches(self) -> Iterator[tuple[list[Any], dict[str, Any]]]:
        """Yields the positional and the keyword arguments of each forward."""
        for start in range(0, self.size, self.batch_size):
            stop = start + self.batch_size
            cut = {name: _cut(value, start, stop) for name, value in self._arguments().items()}
            yield (
                [value for name, value in cut.items() if isinstance(name, int)],
                {name: value for name, value in cut.items() if isinstance(name, str)},
            )

    def _arguments(self) -> dict[int | str, Any]:
        if isinstance(self.inputs, Mapping):
            return {str(name): value for name, value in self.inputs.items()}
        return dict(enumerate(self.inputs if isinstance(self.inputs, tuple) else (self.inputs,)))


def _holds_examples(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(value.ndim)
    return isinstance(value, list) and bool(value) and all(isinstance(example, Tensor) for example in value)


def _cut(value: Any, start: int, stop: int) -> Any:
    """Returns the examples `start` to `stop` of an argument, which as a whole is returned where it holds none."""
    if not _holds_examples(value):
        return value
    # A copy, since a model that begins with an in-place operation would change the probe itself.
    return value[start:stop].clone() if isinstance(value, Tensor) else [one.clone() for one in value[start:stop]]


def send(model: nn.Module, probe: Probe, after: Callable[[], None] = lambda: None) -> None:
    """Send the probe through the model once, in the mode that the model is in; `after` is called after each forward."""
    for positional, keyword in probe.batches():
        try:
            model(*positional, **{**telling(model), **keyword})
        except ValueError as error:
            if "more than 1 value per channel" in str(error):
                raise RecordingError(
                    f"a forward of the probe ({probe.size} examples, batch_size {probe.batch_size}) is too small for "
                    f"the statistics that batch norm normalises by: give the probe more examples, or a batch_size that "
                    f"leaves no example alone ({error})"
                ) from error
            raise
        after()


def as_trained(model: nn.Module, probe: Probe, frozen: Collection[nn.Module] = ()) -> AbstractContextManager[None]:
    """A block within which the model normalises the probe as in training, see `evaluating_as_trained`."""
    return evaluating_as_trained(model, partial(send, model, probe), frozen)


def replays(
    model: nn.Module, probe: Probe, frozen: Collection[nn.Module] = ()
) -> Iterator[tuple[str, AbstractContextManager[None]]]:
    """Yields the phases in which the probe is sent, each with a block within which the model is in its mode."""
    yield PROBE, as_trained(model, probe, frozen)
    if probe.train_mode:
        yield PROBE_TRAIN, in_training_mode(model)
    if probe.running:
        yield PROBE_RUNNING, evaluating(model)


def rehearse(model: nn.Module, probe: Probe, frozen: Collection[nn.Module] = ()) -> None:
    """Raise `RecordingError` before the training starts, not at the end of its first window, if the probe does not fit.

    A model with lazy parameters, or of Keras and not built yet, is not tried: it would be made to fit the probe.
    """
    if probe.running and not averaging(model):
        raise RecordingError(f"{type(model).__name__} has no layer with running averages: make the probe without them")
    if any(nn.parameter.is_lazy(parameter) for parameter in parameters(model)):
        return
    if any(waits_for_inputs(module) for module in modules(model).values()):
        return
    try:
        with as_trained(model, probe, frozen):
            send(model, probe)
    except RecordingError:
        raise
    except Exception as error:
        hint = "; a list is one argument, of examples: several arguments are a tuple"
        raise RecordingError(
            f"the probe does not pass through {type(model).__name__}: {error}{hint * isinstance(probe.inputs, list)}"
        ) from error
