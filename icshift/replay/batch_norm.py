"""Statistics of batch normalisation, computed from data and not from a running average (Wu & Johnson 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Self

import torch
from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.inputs.batches import forward
from icshift.inputs.data import Data, Reading, as_data
from icshift.model import names
from icshift.model.layout import by_unit
from icshift.model.modes import evaluating
from icshift.sketch import moments as exact
from icshift.sketch.workspace import Workspace

Inputs = Data | Tensor | tuple[Any, ...] | Mapping[str, Any] | Iterable[Any]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and variance (biased) of each channel [units], float64, over its `count` finite activations [units]."""

    mean: Tensor
    variance: Tensor
    count: Tensor

    @property
    def n(self) -> int:
        """The number of finite activations of the channel that has the most."""
        return int(self.count.max())

    def merged(self, other: Statistics) -> Statistics:
        """Returns the statistics of both sets of activations as one (Chan, Golub & LeVeque 1979)."""
        count = self.count + other.count
        share, apart = other.count / count.clamp(min=1), other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance + share * (1 - share) * apart.square()
        return Statistics(self.mean + share * apart, variance, count)


class InputStatistics:
    """Within its `with` block, the statistics of what every batch normalisation layer gets, in every forward."""

    def __init__(self, model: nn.Module) -> None:
        self.by_layer: dict[str, list[Statistics]] = {}
        """A list by the name of the layer: one entry a forward that called it, of all its calls together."""
        self._layers = normalisations(model)
        self._open: dict[str, Statistics] = {}
        self._hooks = ExitStack()
        self._workspace = Workspace()

    def __enter__(self) -> Self:
        for name, layer in self._layers.items():
            hook = layer.register_forward_pre_hook(partial(self._take, name), with_kwargs=True)
            self._hooks.callback(hook.remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def end_forward(self) -> None:
        """To be called after every forward of the model: what follows is the next entry's."""
        for name, statistics in self._open.items():
            self.by_layer.setdefault(name, []).append(statistics)
        self._open = {}

    def _take(self, name: str, _: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = _statistics(arguments[0] if arguments else named["input"], self._workspace)
        self._open[name] = self._open[name].merged(given) if name in self._open else given


def normalisations(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Returns the batch normalisation layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in names.modules(model).items()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.running_mean is not None
        and not nn.parameter.is_lazy(module.running_mean)
    }


def running_statistics(model: nn.Module) -> dict[str, Statistics]:
    """Returns what every layer normalises by in eval mode; `count` is the number of batches that it has seen."""
    running = {}
    for name, layer in normalisations(model).items():
        assert layer.running_mean is not None
        assert layer.running_var is not None
        batches = 0 if layer.num_batches_tracked is None else int(layer.num_batches_tracked)
        mean, variance = layer.running_mean.double().clone(), layer.running_var.double().clone()
        running[name] = Statistics(mean, variance, torch.full_like(mean, batches))
    return running


def precise_statistics(model: nn.Module, inputs: Inputs, *, batch_size: int = 256) -> dict[str, Statistics]:
    """Returns the statistics of every batch normalisation layer's input over all of the data, by the layer's name.

    Layers normalise by the batch, as in training; everything else is in eval mode, so dropout is off. Batches count by
    their size: mean = sum n_k m_k / sum n_k, and the variance of all activations about it. Examples that hold
    non-finite values are left out. The model is left as it was.

    `inputs` are a tensor, a tuple of positional or a mapping of keyword arguments, cut into batches of `batch_size`; or
    a dataset, or batches as a DataLoader gives them. Raises `ModelError` where the model has no layer with running
    statistics or does not take the inputs, or where a batch is too small to be normalised by itself.

    >>> import icshift
    >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    >>> inputs = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
    >>> statistics = icshift.precise_statistics(model, inputs)["0"]
    >>> statistics.mean.item(), statistics.variance.item(), statistics.n
    (3.0, 3.5, 4)
    """
    return {name: together(seen) for name, seen in by_batch(model, inputs, batch_size=batch_size).items()}


def by_batch(
    model: nn.Module, inputs: Inputs, *, batch_size: int = 256, after: Callable[[], None] | None = None
) -> dict[str, list[Statistics]]:
    """Returns what `precise_statistics` does for each batch on its own; `after` is called after each."""
    if not normalisations(model):
        raise ModelError(f"{type(model).__name__} has no batch normalisation with running statistics")
    # Inputs are read within: a DataLoader that shuffles draws from the random state that is put back.
    with evaluating(model, "batch"), InputStatistics(model) as inputs_of_layers:
        data = as_data(inputs, model, Reading(batch_size, device=str(_device(model)))).finite()
        if not data.batches:
            raise ModelError(f"{data.source} holds no example that is finite")
        for batch in data.batches:
            forward(model, batch, data.source)
            inputs_of_layers.end_forward()
            if after is not None:
                after()
    return inputs_of_layers.by_layer


def together(parts: Iterable[Statistics]) -> Statistics:
    """Returns the statistics of several batches, at least one, as one."""
    return reduce(Statistics.merged, parts)


@contextmanager
def using(model: nn.Module, statistics: Mapping[str, Statistics]) -> Iterator[None]:
    """A block within which the layers named use these statistics in eval mode, not their running ones."""
    with torch.no_grad(), ExitStack() as stack:
        for buffer, value in _buffers(model, statistics):
            stack.callback(buffer.copy_, buffer.clone())
            buffer.copy_(value)
        yield


def adapt_batch_norm(
    model: nn.Module, inputs: Inputs, *, batch_size: int = 256, source_weight: float = 0.0
) -> dict[str, Statistics]:
    """Set the running statistics to those of the data, for good (precise batch norm), and return `precise_statistics`.

    With `source_weight` N / (N + n) of Schneider et al. (2020) the running statistics keep that share: mean and
    variance are weighted averages of both. Nothing else of the model changes, and nothing at all where this raises: as
    `precise_statistics` does, and `ModelError` where a unit gets no finite value or the weight is not from 0 to 1.

    >>> import icshift
    >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 2))
    >>> _ = icshift.adapt_batch_norm(model, torch.tensor([[1.0], [2.0], [3.0], [6.0]]))
    >>> model[0].running_mean, model[0].running_var
    (tensor([3.]), tensor([3.5000]))
    """
    if not 0 <= source_weight <= 1:
        raise ModelError(f"source_weight must be from 0 to 1, got {source_weight}")
    precise = precise_statistics(model, inputs, batch_size=batch_size)
    silent = [name for name, statistics in precise.items() if not statistics.count.all()]
    if silent:
        raise ModelError(f"units of {', '.join(silent)} got no finite value: the model keeps its statistics")
    with torch.no_grad():
        for buffer, value in _buffers(model, precise):
            buffer.copy_(source_weight * buffer.double() + (1 - source_weight) * value)
    return precise


def _buffers(model: nn.Module, statistics: Mapping[str, Statistics]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields running means and variances, each with what is to take its place."""
    layers = normalisations(model)
    for name, own in statistics.items():
        for buffer, value in ((layers[name].running_mean, own.mean), (layers[name].running_var, own.variance)):
            assert buffer is not None
            yield buffer, value


def _device(model: nn.Module) -> torch.device:
    return next((value.device for value in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _statistics(tensor: Tensor, workspace: Workspace) -> Statistics:
    """Returns the statistics of a layer's input [batch, units, …]."""
    if not tensor.numel():
        nothing = torch.zeros(tensor.shape[1], dtype=torch.float64, device=tensor.device)
        return Statistics(nothing, nothing, nothing)
    count, _, mean, squares = exact.moments(by_unit(tensor.detach(), 1)[None], workspace)[:4, 0]
    return Statistics(mean, squares.clamp(min=0) / count.clamp(min=1), count)
