"""The modules of a model under the names that its author gave them, whatever was wrapped around them since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from icshift.model import keras_layers

ROOT = "(model)"
"""Name of the model itself as a site."""

_WRAPPED = {
    "DistributedDataParallel": "module",
    "DataParallel": "module",
    "OptimizedModule": "_orig_mod",
    "FullyShardedDataParallel": "_fsdp_wrapped_module",
    "CheckpointWrapper": "_checkpoint_wrapped_module",
}
"""Classes that wrap a module, by name, and the attribute that holds it; their packages need not be imported."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The module that DistributedDataParallel, DataParallel, FSDP, `torch.compile` and their like wrap; else the same.

    >>> unwrapped(nn.DataParallel(nn.Linear(2, 1)))
    Linear(in_features=2, out_features=1, bias=True)
    """
    while (held := _WRAPPED.get(type(module).__name__)) is not None and isinstance(
        inner := module._modules.get(held), nn.Module
    ):
        module = inner
    return module


def takes_hooks(module: nn.Module) -> bool:
    """Whether forward hooks work on a module: those of TorchScript refuse them."""
    return not isinstance(module, torch.jit.ScriptModule)


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by name, each once under the first of its names, parents first; the model itself is `ROOT`.

    >>> list(modules(nn.Sequential(nn.Linear(2, 2), nn.ReLU())))
    ['(model)', '0', '1']
    """
    return dict(every_name(model, most=1))


def every_name(model: nn.Module, *, most: int = 64) -> Iterator[tuple[str, nn.Module]]:
    """Yields every module after every name that leads to it (the first `most` of each), parents before children."""
    yield from _below(unwrapped(model), "", (), Counter(), most)


def _below(
    module: nn.Module, name: str, above: tuple[nn.Module, ...], met: Counter[nn.Module], most: int
) -> Iterator[tuple[str, nn.Module]]:
    met[module] += 1
    yield name or ROOT, module
    above = *above, module
    for child_name, child in parts(module):
        if (child := unwrapped(child)) not in above and met[child] < most:
            yield from _below(child, f"{name}.{child_name}" if name else child_name, above, met, most)


def parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that a module holds, by the names that it has for them."""
    if keras_layers.is_layer(module):
        return list(keras_layers.parts(module))
    return [(name, part) for name, part in module._modules.items() if part is not None]


def every_module(model: nn.Module) -> list[nn.Module]:
    """A model and all modules in it, wrappers too, each once."""
    found = dict.fromkeys(model.modules())
    waiting = [module for module in found if keras_layers.is_layer(module)]
    while waiting:
        held = (inner for _, part in keras_layers.parts(waiting.pop()) for inner in part.modules())
        new = [module for module in dict.fromkeys(held) if module not in found]
        found |= dict.fromkeys(new)
        waiting += [module for module in new if keras_layers.is_layer(module)]
    return list(found)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are in none of a module's parts, by name."""
    if keras_layers.is_layer(module):
        return keras_layers.weights(module)
    return {name: parameter for name, parameter in module._parameters.items() if parameter is not None}


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yields every parameter of a model once, after its name.

    A layer of Keras is not asked: it would make a list of its variables before it has them.
    """
    if not keras_layers.is_layer(model):
        yield from model.named_parameters()
        return
    met: set[nn.Parameter] = set()
    for name, module in modules(model).items():
        for own, parameter in own_parameters(module).items():
            if parameter not in met:
                met.add(parameter)
                yield own if name == ROOT else f"{name}.{own}", parameter


def parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yields every parameter of a model once."""
    return (parameter for _, parameter in named_parameters(model))


def changing(model: nn.Module) -> list[Tensor]:
    """What a forward of a model may change: its buffers, and the state of layers of Keras."""
    layers = [module for module in every_module(model) if keras_layers.is_layer(module)]
    return [*model.buffers(), *dict.fromkeys(value for layer in layers for value in keras_layers.state(layer))]


def callable_parts(model: nn.Module) -> list[nn.Module]:
    """The model and its direct parts, also those within lists and dictionaries of modules.

    A forward of the model is a call of the outermost of these: some trainings never call the model as a whole. The
    model itself is always among them; a part without parts of its own is not.
    """
    callables: list[nn.Module] = []
    met: set[nn.Module] = set()
    waiting = [model]
    while waiting:
        part = unwrapped(waiting.pop(0))
        if part in met:
            continue
        met.add(part)
        held = [inner for _, inner in parts(part)]
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
            waiting += held
        elif takes_hooks(part) and (part is model or held):
            callables.append(part)
            waiting += held if part is model else []
    return callables
