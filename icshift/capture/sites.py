"""Which modules are watched: by default all that carry weights, and all normalisation layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from icshift.capture.layout import unit_axis
from icshift.errors import RecordingError
from icshift.run import Site

Selector: TypeAlias = "str | type[nn.Module] | Callable[[str, nn.Module], bool]"

ROOT = "(model)"
"""Name of the model itself as a site."""


@dataclass(frozen=True)
class Sites:
    """Which modules to watch, and how.

    `select`: a glob over module names ("layers.*.attn"), "all" for every leaf module, a module type, a callable
    (name, module) -> bool, or several of these; None for the default. `axis` overrides the unit axis of the
    sites whose name matches a glob. Of a site with more than `max_units` units a fixed random subset is kept.
    """

    select: Selector | Sequence[Selector] | None = None
    axis: Mapping[str, int] = field(default_factory=dict)
    max_units: int = 1024


def choose(model: nn.Module, sites: Sites) -> dict[str, nn.Module]:
    """The chosen modules by name. Raises `RecordingError` if there is none."""
    named = {name or ROOT: module for name, module in model.named_modules() if takes_hooks(module)}
    if sites.select is None:
        chosen = {name: module for name, module in named.items() if _is_default(module)}
    else:
        selectors = sites.select if isinstance(sites.select, (list, tuple, set, frozenset)) else [sites.select]
        chosen = {name: module for name, module in named.items() if any(_matches(s, name, module) for s in selectors)}
    if not chosen:
        asked = "carries weights or normalises" if sites.select is None else f"matches {sites.select!r}"
        names = ", ".join(list(named)[:8])
        listed = f"its modules: {names}" if names else "TorchScript takes no hooks, give the model it was made from"
        raise RecordingError(f"no module of {type(model).__name__} {asked}; {listed}")
    return chosen


def normalises(module: nn.Module) -> bool:
    """Whether a module is a normalisation layer, by type or, for those of other packages, by name."""
    known = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    return isinstance(module, known) or type(module).__name__.endswith(("Norm", "Norm1d", "Norm2d", "Norm3d"))


def describe(name: str, module: nn.Module, tensor: Tensor, sites: Sites, seed: int) -> Site:
    """The site of a tensor seen for the first time. Raises `RecordingError` if it has no unit axis."""
    if tensor.ndim == 0:
        raise RecordingError(f"{name} gives a single number: it has no units")
    axis = next((axis for glob, axis in sites.axis.items() if fnmatchcase(name, glob)), None)
    if axis is None:
        axis = unit_axis(module, tensor.ndim)
    if not -tensor.ndim <= axis < tensor.ndim:
        raise RecordingError(f"{name} has {tensor.ndim} axes: axis {axis} is not there")
    axis %= tensor.ndim
    units = tensor.shape[axis]
    kept = None
    if units > sites.max_units:
        drawn = np.random.default_rng(seed).choice(units, sites.max_units, replace=False)
        kept = tuple(np.sort(drawn).tolist())
    return Site(
        name=name,
        type=type(module).__name__,
        axis=axis,
        units=units,
        kept=kept,
        normalises=normalises(module),
        batch_statistics=isinstance(module, nn.modules.batchnorm._NormBase),
    )


def takes_hooks(module: nn.Module) -> bool:
    """Whether forward hooks work on a module: those of TorchScript refuse them."""
    return not isinstance(module, torch.jit.ScriptModule)


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no parts; a parametrisation (weight norm, LoRA's kind) is no part."""
    return all(name == "parametrizations" for name, _ in module.named_children())


def _is_default(module: nn.Module) -> bool:
    if normalises(module):
        return True
    carries = any(True for _ in module.parameters(recurse=False)) or hasattr(module, "parametrizations")
    return carries and (is_leaf(module) or isinstance(module, nn.MultiheadAttention))


def _matches(selector: Any, name: str, module: nn.Module) -> bool:
    if isinstance(selector, str):
        return is_leaf(module) if selector == "all" else fnmatchcase(name, selector)
    if isinstance(selector, type):
        return isinstance(module, selector)
    if callable(selector):
        return bool(selector(name, module))
    raise RecordingError(f"sites must be chosen by glob, module type or callable, not by {selector!r}")
