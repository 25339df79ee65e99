"""Working with a model that somebody trains, and leaving it as it was."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from icshift.model.unheard import unheard


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Puts modes, attributes, buffers and all random states back, whatever happens within; records no gradients.

    No recorder hears what runs within, unless one asks to with `heard_by`.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with unheard(), kept(model):
        try:
            with torch.random.fork_rng(), torch.no_grad():
                yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Puts modes, attributes and buffers back."""
    modes = [(module, module.training) for module in model.modules()]
    places = [
        (place, dict(place))
        for module in model.modules()
        for place in (vars(module), module._buffers, module._parameters, module._modules)
        if isinstance(place, dict)
    ]
    buffers = [(b, b.detach().clone()) for b in model.buffers() if not is_lazy(b)]
    try:
        yield
    finally:
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
                buffer.data.copy_(value)  # `.data`: a graph that waits for its backward may hold the buffer.


@contextmanager
def lists_kept(model: nn.Module) -> Iterator[None]:
    """Puts back what was in the lists that are attributes of modules, as the penalties of a router of experts."""
    held = lists(model)
    try:
        yield
    finally:
        for one, items in held:
            one[:] = items


def lists(model: nn.Module) -> list[tuple[list[object], list[object]]]:
    """Every list that is an attribute of a module, and what is in it now."""
    found = [value for module in model.modules() for value in vars(module).values() if type(value) is list]
    return [(value, list(value)) for value in found]


@contextmanager
def lent(model: nn.Module) -> Iterator[None]:
    """Puts parameters and buffers back, on the device and in the precision that they had, and all else of a model."""
    known = [parameter for parameter in model.parameters() if not is_lazy(parameter)]
    before = [(parameter, parameter.data, parameter.data.clone()) for parameter in known]
    try:
        with undisturbed(model):
            yield
    finally:
        for parameter, data, value in before:
            data.copy_(value)
            parameter.data = data
