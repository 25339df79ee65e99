"""Blocks after which a model that somebody else trains is as it was before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy

from icshift.model import names
from icshift.model.unheard import unheard


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """A block after which modes, attributes, buffers and all random states are as before; within, no graph is built.

    No recorder hears what runs within, unless one asks to with `heard_by`.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with unheard(), kept(model):
        try:
            with torch.random.fork_rng(_cuda_in_use(model)), torch.no_grad():
                yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _cuda_in_use(model: nn.Module) -> list[int]:
    """Returns the numbers of the devices whose random state a forward of the model may change.

    By default PyTorch would save the states of all devices of the machine, and warn where there are several.
    """
    if not torch.cuda.is_initialized():
        return []
    of_model = {tensor.device for tensor in (*names.parameters(model), *names.changing(model))}
    own = {device.index for device in of_model if device.type == "cuda"}
    return sorted(own | {torch.cuda.current_device()})


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """A block after which modes, attributes and buffers are as before: the same tensors, with their old values."""
    modules = names.every_module(model)
    modes = [(module, module.training) for module in modules]
    places = [
        (place, dict(place))
        for module in modules
        for place in (vars(module), module._buffers, module._parameters, module._modules)
        if isinstance(place, dict)
    ]
    buffers = [(b, b.detach().clone()) for b in names.changing(model) if not is_lazy(b)]
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
    """A block after which lists that are attributes of modules hold what they held, as a router's list of penalties."""
    held = lists(model)
    try:
        yield
    finally:
        for attribute, items in held:
            attribute[:] = items


def lists(model: nn.Module) -> list[tuple[list[object], list[object]]]:
    """Returns every list that is an attribute of a module, each with a copy of it."""
    modules = names.every_module(model)
    attributes = [value for module in modules for value in vars(module).values() if type(value) is list]
    return [(value, list(value)) for value in attributes]


@contextmanager
def lent(model: nn.Module) -> Iterator[None]:
    """An `undisturbed` block after which parameters too have their values, device and precision of before."""
    known = [parameter for parameter in names.parameters(model) if not is_lazy(parameter)]
    before = [(parameter, parameter.data, parameter.data.clone()) for parameter in known]
    try:
        with undisturbed(model):
            yield
    finally:
        for parameter, data, value in before:
            data.copy_(value)
            parameter.data = data
