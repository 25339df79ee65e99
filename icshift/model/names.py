"""The modules of a model under the names its author gave them, whatever has been wrapped around them since."""

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
"""Classes that stand for the module they hold, and the attribute that holds it."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The module itself, out of DistributedDataParallel, DataParallel, FSDP, `torch.compile` and their like."""
    while (held := _WRAPPED.get(type(module).__name__)) is not None and isinstance(
        inner := module._modules.get(held), nn.Module
    ):
        module = inner
    return module


def takes_hooks(module: nn.Module) -> bool:
    """Whether forward hooks work on a module: those of TorchScript refuse them."""
    return not isinstance(module, torch.jit.ScriptModule)


def modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by name, each once, under the first of its names; the model itself is `ROOT`."""
    return dict(every_name(model, most=1))


def every_name(model: nn.Module, *, most: int = 64) -> Iterator[tuple[str, nn.Module]]:
    """Every module under every name that leads to it (the first `most` of each), parents before children."""
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
    """The model and its direct parts, those of lists and dictionaries of modules among them.

    A forward of the model is a call of the outermost of these: some trainings never call the model as a whole.
    """
    found: list[nn.Module] = []
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
            found.append(part)
            waiting += part.children() if part is model else []
    return found
