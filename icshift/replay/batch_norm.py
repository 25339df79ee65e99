"""Statistics of batch normalisation, computed from data and not from a running average (Wu & Johnson 2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.hooks.batch_norm import InputStatistics, Statistics, exchanged, normalisations, together
from icshift.inputs.batches import forward
from icshift.inputs.data import Data, Reading, as_data
from icshift.model.modes import evaluating

Inputs = Data | Tensor | tuple[Any, ...] | Mapping[str, Any] | Iterable[Any]


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
        for buffer, value in exchanged(model, precise):
            buffer.copy_(source_weight * buffer.double() + (1 - source_weight) * value)
    return precise


def _device(model: nn.Module) -> torch.device:
    return next((value.device for value in (*model.parameters(), *model.buffers())), torch.device("cpu"))
