"""What a model itself makes of a state dict: modules rename and convert what older versions of them saved.

`torch.nn.utils.parametrizations.weight_norm` takes what `torch.nn.utils.weight_norm` saved, classes of torchvision what
they were called years ago. Such rules are hooks of `load_state_dict` and overrides of it, and run as it runs: here on a
copy of the model without data, which tells under which names of today the tensors are.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.saved.names import without_wrappers

Versions = Mapping[str, Mapping[str, Any]]
"""What a state dict says of the modules that it was made of, by their names: `_version`, above all."""


def as_loaded(model: nn.Module, state: Mapping[str, Tensor], versions: Versions) -> dict[str, Tensor] | None:
    """A state dict under the names that the model gives its tensors once it has loaded them.

    Those that it does not know keep their names. None where it refuses them, or is of a kind that cannot be copied.
    """
    try:
        without_data = _outline(model)
        result = without_data.load_state_dict(with_versions(state, versions), strict=False, assign=True)
        loaded = {
            name: value
            for name, value in without_data.state_dict(keep_vars=True).items()
            if isinstance(value, Tensor) and not value.is_meta
        }
    except Exception:  # noqa: BLE001  Whatever somebody's class raises, it does not take these.
        return None
    return {name: value.detach() for name, value in loaded.items()} | {
        name: state[name] for name in result.unexpected_keys if name in state
    }


def with_versions(state: Mapping[str, Tensor], versions: Versions) -> OrderedDict[str, Tensor]:
    """A state dict that `load_state_dict` finds the versions in."""
    given = OrderedDict(state)
    given._metadata = {name: dict(entry) for name, entry in versions.items()}  # type: ignore[attr-defined]
    return given


def renamed_versions(model: nn.Module, versions: Versions, prefix: str) -> dict[str, Mapping[str, Any]]:
    """The versions under the names of the model's modules, where `prefix` is taken off (with a "-": put before)."""
    ours = {without_wrappers(name): name for name, _ in model.named_modules()}
    renamed = {}
    for name, entry in versions.items():
        whole = f"{prefix[1:]}{name}." if prefix.startswith("-") else f"{name}."
        taken = whole if prefix.startswith("-") else whole.removeprefix(prefix)
        if whole.startswith(prefix.removeprefix("-")) and (target := taken.rstrip(".")) in ours:
            renamed[ours[target]] = entry
    return renamed


def current_versions(model: nn.Module) -> dict[str, Mapping[str, Any]]:
    """The versions that the modules of a model are of."""
    return dict(getattr(model.state_dict(), "_metadata", {}))


def _outline(model: nn.Module) -> nn.Module:
    """A copy of a model whose parameters and buffers have no data."""
    empty: dict[int, Any] = {}
    for tensor in _tensors(model):
        if not is_lazy(tensor):
            made: Tensor = torch.empty_like(tensor, device="meta")
            is_parameter = isinstance(tensor, nn.Parameter)
            empty[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if is_parameter else made
    return copy.deepcopy(model, empty)


def _tensors(model: nn.Module) -> Iterable[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
