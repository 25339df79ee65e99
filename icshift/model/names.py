"""The modules of a model under the names that its author gave them, whatever was wrapped around them since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn

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
    for child_name, child in module._modules.items():
        if child is not None and (child := unwrapped(child)) not in above and met[child] < most:
            yield from _below(child, f"{name}.{child_name}" if name else child_name, above, met, most)


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
        if isinstance(part, (nn.ModuleList, nn.ModuleDict)):
            waiting += part.children()
        elif takes_hooks(part) and (part is model or any(True for _ in part.children())):
            callables.append(part)
            waiting += part.children() if part is model else []
    return callables
