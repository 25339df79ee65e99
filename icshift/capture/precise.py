"""Statistics of batch normalisation, computed from data and not from a running average (Wu & Johnson 2021)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from icshift.capture import walk
from icshift.capture.data import Batch
from icshift.capture.probe import undisturbed
from icshift.errors import ModelError


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and variance (biased) of every channel [units], in float64, of `n` activations each."""

    mean: Tensor
    variance: Tensor
    n: int

    def merged(self, other: Statistics) -> Statistics:
        """Of both together (Chan, Golub & LeVeque 1979)."""
        n = self.n + other.n
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.n / n)
        squares = self.n * self.variance + other.n * other.variance + apart.square() * (self.n * other.n / n)
        return Statistics(mean, squares / n, n)


def normalisations(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """Batch normalisation layers that keep running statistics, by name."""
    return {
        name: module
        for name, module in walk.modules(model).items()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    }


def running_statistics(model: nn.Module) -> dict[str, Statistics]:
    """What every layer uses in eval mode; `n` is the number of batches that it has seen."""
    found = {}
    for name, layer in normalisations(model).items():
        assert layer.running_mean is not None
        assert layer.running_var is not None
        batches = 0 if layer.num_batches_tracked is None else int(layer.num_batches_tracked)
        found[name] = Statistics(layer.running_mean.double().clone(), layer.running_var.double().clone(), batches)
    return found


def precise_statistics(model: nn.Module, batches: Iterable[Batch]) -> dict[str, Statistics]:
    """The statistics of every layer's input over all of the data, with the parameters as they are.

    Layers normalise by the batch, as in training; everything else is in eval mode, so dropout is off. Batches count by
    their size: mean = sum n_k m_k / sum n_k, and the variance of all activations about it. The model is left as it was.
    `batches` are the positional and keyword arguments of each forward. Raises `ModelError` where the model has no
    layer with running statistics, or a batch is too small to be normalised by itself.
    """
    return _of_inputs(model, batches, by_batch=True)


def statistics_in_use(model: nn.Module, batches: Iterable[Batch]) -> dict[str, Statistics]:
    """The same in eval mode: what reaches every layer while those before it use their running statistics."""
    return _of_inputs(model, batches, by_batch=False)


def _of_inputs(model: nn.Module, batches: Iterable[Batch], *, by_batch: bool) -> dict[str, Statistics]:
    layers = normalisations(model)
    if not layers:
        raise ModelError(f"{type(model).__name__} has no batch normalisation with running statistics")
    found: dict[str, Statistics] = {}
    with undisturbed(model), ExitStack() as hooks:
        for module in model.modules():
            module.training = by_batch and isinstance(module, nn.modules.batchnorm._BatchNorm)
        for name, layer in layers.items():

            def take(_: nn.Module, arguments: tuple[Any, ...], name: str = name) -> None:
                seen = _statistics(arguments[0])
                found[name] = found[name].merged(seen) if name in found else seen

            hooks.callback(layer.register_forward_pre_hook(take).remove)
        for positional, keyword in batches:
            try:
                model(*positional, **keyword)
            except ValueError as error:
                raise ModelError(f"statistics need batches of several examples: {error}") from error
    return found


@contextmanager
def using(model: nn.Module, statistics: dict[str, Statistics]) -> Iterator[None]:
    """Within, the layers named use these statistics in eval mode in place of their running ones."""
    layers = normalisations(model)
    with torch.no_grad(), ExitStack() as stack:
        for name, one in statistics.items():
            for buffer, value in ((layers[name].running_mean, one.mean), (layers[name].running_var, one.variance)):
                assert buffer is not None
                stack.callback(buffer.copy_, buffer.clone())
                buffer.copy_(value)
        yield


def adapt(model: nn.Module, batches: Iterable[Batch], *, source_weight: float = 0.0) -> None:
    """Set the running statistics to those of the data, for good: precise batch norm.

    With `source_weight` N / (N + n) of Schneider et al. (2020) the running statistics keep that share: mean and
    variance are weighted averages of both. Raises as `precise_statistics`.
    """
    if not 0 <= source_weight <= 1:
        raise ModelError(f"source_weight must be from 0 to 1, got {source_weight}")
    layers = normalisations(model)
    with torch.no_grad():
        for name, one in precise_statistics(model, batches).items():
            for buffer, value in ((layers[name].running_mean, one.mean), (layers[name].running_var, one.variance)):
                assert buffer is not None
                buffer.copy_(source_weight * buffer.double() + (1 - source_weight) * value)


def _statistics(tensor: Tensor) -> Statistics:
    channels = tensor.detach().double().movedim(1, -1).reshape(-1, tensor.shape[1]) if tensor.ndim > 1 else tensor
    return Statistics(channels.mean(0), channels.var(0, correction=0), len(channels))
