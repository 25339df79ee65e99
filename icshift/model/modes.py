"""The mode that a model is in while icshift sends something through it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from torch import nn

from icshift.model.names import every_module
from icshift.model.torch_private import AVERAGING
from icshift.model.undisturbed import undisturbed

NormalisedBy = Literal["running", "batch"]
"""What batch norm normalises by: its running averages, or the mean and variance of the batch at hand."""


@contextmanager
def evaluating(model: nn.Module, normalised_by: NormalisedBy = "running") -> Iterator[None]:
    """A block within which the model is in eval mode, undisturbed: dropout is off, and afterwards all is as it was.

    With "batch", layers that keep running averages (batch norm; instance norm that tracks them) normalise by what they
    are given, as in training.
    """
    with undisturbed(model):
        for module in every_module(model):
            module.training = normalised_by == "batch" and differs_by_mode(module)
        yield


@contextmanager
def in_training_mode(model: nn.Module) -> Iterator[None]:
    """A block within which the whole model is in training mode, undisturbed: afterwards all is as it was."""
    with undisturbed(model):
        for module in every_module(model):
            module.training = True
        yield


def differs_by_mode(module: nn.Module) -> bool:
    """Whether a module is a batch or instance norm layer, which may normalise differently in training and in eval."""
    return isinstance(module, AVERAGING)
