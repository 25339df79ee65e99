"""What batch norm layers are given, and what they normalise by: statistics computed, exchanged and put back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Self

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, fx, nn

from icshift.model import keras_layers, names
from icshift.model.layout import by_unit
from icshift.model.modes import evaluating
from icshift.model.torch_private import AVERAGING, BATCH_NORM
from icshift.runs.phases import OWN_INPUTS, RUNNING_AVERAGES
from icshift.sketch.kernel import kernel
from icshift.sketch.workspace import Workspace


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


def normalisations(model: nn.Module) -> dict[str, BATCH_NORM]:
    """Returns the batch normalisation layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in names.modules(model).items()
        if isinstance(module, BATCH_NORM)
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


def together(parts: Iterable[Statistics]) -> Statistics:
    """Returns the statistics of several batches, at least one, as one."""
    return reduce(Statistics.merged, parts)


Sent = Callable[[Callable[[], None]], None]
"""Sends inputs through a model, and calls what it is given after every forward."""


@contextmanager
def evaluating_as_trained(model: nn.Module, send: Sent, frozen: Collection[nn.Module] = ()) -> Iterator[None]:
    """A block within which a model in eval mode normalises as in training: it is the function that is trained.

    Batch norm uses the statistics of what `send` sends, computed beforehand in a pass of its own, in which it
    normalises by the batch; instance norm with running averages normalises by the instance. Running averages have no
    part in it: they lag behind the parameters and follow single batches, so that a network that stands still seems to
    move. Layers that are `frozen` keep theirs, as in training. Without a layer that has running averages the model is
    in eval mode, and nothing is sent. The model is left as it was.
    """
    layers = [layer for layer in averaging(model) if layer not in frozen]
    statistics = _of_all_sent(model, send, frozen) if any(map(_is_batch_norm, layers)) else {}
    with evaluating(model), using(model, statistics):
        for layer in layers:
            layer.training = not _is_batch_norm(layer)
        yield


def averaging(model: nn.Module) -> list[nn.Module]:
    """The layers that keep running averages: batch norm, and instance norm that tracks them."""
    layers = [module for module in names.every_module(model) if isinstance(module, AVERAGING)]
    return [layer for layer in layers if layer.running_mean is not None]


def probe_statistics(model: nn.Module) -> str | None:
    """What a manifest says of the phase `probe`, see `runs.phases.PROBE_STATISTICS`."""
    # Parts of an exported program are of several classes, and all keep their operators in this attribute.
    graphs = (getattr(part, "graph", None) for part in model.modules())
    if any(isinstance(graph, fx.Graph) and _averages_in(graph) for graph in graphs):
        return RUNNING_AVERAGES
    if any(keras_layers.normalises_by_the_batch(part) for part in names.every_module(model)):
        return RUNNING_AVERAGES
    return OWN_INPUTS if averaging(model) else None


def _averages_in(graph: fx.Graph) -> bool:
    """Whether operators of a graph normalise by running averages: no mode could change that."""
    # The sixth argument of both operators says whether they normalise by what they are given.
    return any(
        str(node.target) in ("aten.batch_norm.default", "aten.instance_norm.default") and node.args[5] is False
        for node in graph.nodes
    )


def held_in_eval(model: nn.Module) -> frozenset[nn.Module]:
    """The layers with running averages that are in eval mode: frozen, where the model itself is in training mode."""
    return frozenset(layer for layer in averaging(model) if not layer.training)


def _is_batch_norm(layer: nn.Module) -> bool:
    return isinstance(layer, BATCH_NORM)


def _of_all_sent(model: nn.Module, send: Sent, frozen: Collection[nn.Module]) -> dict[str, Statistics]:
    """Statistics of everything sent, while layers that are not frozen normalise by the batch."""
    with evaluating(model, "batch"), InputStatistics(model) as inputs_of_layers, ExitStack() as stack:
        for layer in averaging(model):
            waits = isinstance(layer, nn.SyncBatchNorm) and dist.is_available() and dist.is_initialized()
            layer.training = layer not in frozen and not waits
            if waits and layer not in frozen:
                stack.callback(layer.register_forward_pre_hook(_take_over).remove)
        send(inputs_of_layers.end_forward)
    layers = normalisations(model)
    return {name: together(seen) for name, seen in inputs_of_layers.by_layer.items() if layers[name] not in frozen}


def _take_over(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
    """Make a layer that would wait for other processes in training mode normalise by this process's batch in eval."""
    assert isinstance(layer, nn.SyncBatchNorm)
    one = _statistics(arguments[0], Workspace())
    if one.n < 2:
        raise ValueError(f"Expected more than 1 value per channel, got input size {tuple(arguments[0].shape)}")
    for buffer, value in ((layer.running_mean, one.mean), (layer.running_var, one.variance)):
        assert buffer is not None
        buffer.data.copy_(value)


@contextmanager
def using(model: nn.Module, statistics: Mapping[str, Statistics]) -> Iterator[None]:
    """A block within which the layers named use these statistics in eval mode, not their running ones."""
    with torch.no_grad(), ExitStack() as stack:
        for buffer, value in exchanged(model, statistics):
            # `.data`: a graph that waits for its backward may hold the buffer.
            stack.callback(buffer.data.copy_, buffer.clone())
            buffer.data.copy_(value)
        yield


def exchanged(model: nn.Module, statistics: Mapping[str, Statistics]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields running means and variances, each with what is to take its place."""
    layers = normalisations(model)
    for name, own in statistics.items():
        for buffer, value in ((layers[name].running_mean, own.mean), (layers[name].running_var, own.variance)):
            assert buffer is not None
            yield buffer, value


def _statistics(tensor: Tensor, workspace: Workspace) -> Statistics:
    """Returns the statistics of a layer's input [batch, units, …]."""
    if not tensor.numel():
        nothing = torch.zeros(tensor.shape[1], dtype=torch.float64, device=tensor.device)
        return Statistics(nothing, nothing, nothing)
    table = kernel(np.float32).moments(by_unit(tensor.detach(), 1), workspace)
    count, _, mean, deviation = table[:4, 0]
    return Statistics(mean, deviation.square() / count.clamp(min=1), count)
