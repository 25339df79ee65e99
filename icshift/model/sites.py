"""Sites, the modules that are watched: by default all that carry weights, and all normalisation layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.given import by_glob, whole
from icshift.model import keras_layers, names
from icshift.model.layout import unit_axis
from icshift.model.names import modules, takes_hooks, unwrapped
from icshift.model.torch_private import AVERAGING, CONVOLUTION
from icshift.runs.format import Site

_CARRY_WEIGHTS = (
    nn.Linear,
    nn.Bilinear,
    CONVOLUTION,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)
"""Sites by default even if they have parts, as layers made ready for quantisation have."""

_MOST_AXES = 1000
"""More than any tensor has, and what is read back from a run."""

Selector: TypeAlias = "str | type[nn.Module] | nn.Module | Callable[[str, nn.Module], bool]"


@dataclass(frozen=True)
class Sites:
    """Which modules to watch, and how; an option of `Recorder`.

    `select` is a glob over module names ("layers.*.attn"), "all" for every leaf module, a module type, a module of the
    model itself, a callable (name, module) -> bool, or several of these; None for the default. `axis` overrides the
    unit axis, counted from 0 or from the end, of the sites whose name matches a glob. Of a site with more than
    `max_units` units a fixed random subset is kept; where all sites together would have more than `max_total_units`,
    that bound is lowered, for all alike. The step series has at most `max_step_units` of the units of a site, drawn at
    random once (None: all that are kept). Each call of a module in a forward is a site of its own ("cell#2"); those
    from the `max_calls`-th on are one site together ("cell#16+"). Raises `RecordingError` for what is no such number.

    >>> network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    >>> list(choose_sites(network, Sites())), list(choose_sites(network, Sites(nn.ReLU)))
    (['0', '2'], ['1'])
    """

    select: Selector | Sequence[Selector] | None = None
    axis: Mapping[str, int] = field(default_factory=dict)
    max_units: int = 1024
    max_calls: int = 16
    max_total_units: int = 65_536
    max_step_units: int | None = 64

    def __post_init__(self) -> None:
        plain = {
            "axis": by_glob("axis", self.axis, -_MOST_AXES, _MOST_AXES),
            "max_units": whole("max_units", self.max_units, 1),
            "max_calls": whole("max_calls", self.max_calls, 1),
            "max_total_units": whole("max_total_units", self.max_total_units, 1),
            "max_step_units": whole("max_step_units", self.max_step_units, 0, words=(None,)),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)


def choose_sites(model: nn.Module, sites: Sites, *, least: int = 1) -> dict[str, nn.Module]:
    """The modules to watch by name, in the model's order.

    Raises `RecordingError` if any of the selectors matches fewer than `least`, or there are fewer in all, or a glob of
    `axis` none of them.
    """
    chosen = _selected(model, sites, least)
    if least and not any(map(keras_layers.waits_for_inputs, modules(model).values())):
        for glob in sites.axis:
            if not any(_may_name(glob, name) for name in chosen):
                listed = ", ".join(list(chosen)[:8])
                raise RecordingError(f"no site of {type(model).__name__} matches {glob!r} of axis; its sites: {listed}")
    return chosen


def _selected(model: nn.Module, sites: Sites, least: int) -> dict[str, nn.Module]:
    named = {name: module for name, module in modules(model).items() if takes_hooks(module)}
    names = ", ".join(list(named)[:8])
    listed = f"its modules: {names}" if names else "TorchScript takes no hooks, give the model it was made from"
    if sites.select is None:
        # A parametrisation gives weights, not activations.
        chosen = {n: module for n, module in named.items() if "parametrizations" not in n and is_default(module)}
        whole = (module for module in chosen.values() if keras_layers.is_whole(module))
        within = {part for module in whole for part in modules(module).values() if part is not module}
        chosen = {name: module for name, module in chosen.items() if module not in within}
        if len(chosen) < least and not any(map(keras_layers.waits_for_inputs, named.values())):
            raise RecordingError(f"no module of {type(model).__name__} carries weights or normalises; {listed}")
        return chosen
    selectors = sites.select if isinstance(sites.select, (list, tuple, set, frozenset)) else [sites.select]
    selected: dict[str, nn.Module] = {}
    for selector in selectors:
        matches = {name: module for name, module in named.items() if _matches(selector, name, module)}
        if len(matches) < least:
            named_so = f"this {type(selector).__name__}" if isinstance(selector, nn.Module) else repr(selector)
            raise RecordingError(f"no module of {type(model).__name__} matches {named_so}; {listed}")
        selected |= matches
    if len(selected) < least:
        raise RecordingError(f"sites is empty: nothing of {type(model).__name__} would be watched; {listed}")
    return {name: module for name, module in named.items() if name in selected}


def called_around(model: nn.Module, names: Iterable[str]) -> set[str]:
    """For each of these modules the nearest one that holds it and has a forward of its own; never the model itself.

    >>> model = nn.ModuleDict({"blocks": nn.ModuleList([nn.Sequential(nn.Linear(2, 2))]), "head": nn.Linear(2, 2)})
    >>> called_around(model, ["blocks.0.0", "head"])
    {'blocks.0'}
    """
    named = modules(model)
    found = set()
    for name in names:
        around = name.rpartition(".")[0]
        while around and not (around in named and _has_forward(named[around])):
            around = around.rpartition(".")[0]
        found |= {around} - {""}
    return found


def normalises(module: nn.Module) -> bool:
    """Whether a module is a normalisation layer, by type or, for those of other packages, by name."""
    known = (AVERAGING, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    return (
        isinstance(module, known)
        or keras_layers.normalises(module)
        or type(module).__name__.endswith(("Norm", "Norm1d", "Norm2d", "Norm3d"))
    )


def describe(name: str, module: nn.Module, plain: Tensor, leading: int, sites: Sites, seed: int) -> Site:
    """The `Site` of an output that is seen for the first time: its name, unit axis, units, and which of them are kept.

    `plain` and `leading` are what `plain.dense` gives for the output: its activations, and the number of axes they have
    before the output's own. `seed` draws the units of a site that has too many. Raises `RecordingError` where the unit
    axis is not there.
    """
    ndim = plain.ndim - leading
    called = re.sub(r"#\d+\+?", "", name)  # The second call of a module has its units where the first has them.
    axis = next((a for glob, a in sites.axis.items() if fnmatchcase(name, glob) or fnmatchcase(called, glob)), None)
    if axis is None:
        axis = unit_axis(module, ndim)
    if not -ndim <= axis < ndim:
        raise RecordingError(f"{name} has {ndim} axes: axis {axis} is not there")
    axis %= ndim
    if leading < 0 and axis < 2:
        raise RecordingError(f"{name} gives nested tensors, along whose axis {axis} lie sequences: name another axis")
    units = plain.shape[axis + leading]
    kept = None
    if units > sites.max_units:
        drawn = np.random.default_rng(seed).choice(units, sites.max_units, replace=False)
        kept = tuple(np.sort(drawn).tolist())
    recorded, in_steps = units if kept is None else len(kept), None
    if sites.max_step_units is not None and recorded > sites.max_step_units:
        places = np.sort(
            np.random.default_rng([seed, 1]).choice(recorded, sites.max_step_units, replace=False)
        ).tolist()
        in_steps = tuple(places if kept is None else [kept[place] for place in places])
    return Site(
        name=name,
        type=type_name(module),
        axis=axis,
        units=units,
        kept=kept,
        in_steps=in_steps,
        normalises=normalises(module),
        batch_statistics=isinstance(module, AVERAGING) or keras_layers.normalises_by_the_batch(module),
    )


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no parts; a parametrisation, such as weight norm, is no part."""
    return not _parts(module)


def owns_weights(module: nn.Module) -> bool:
    """Whether a module has parameters that are in none of its parts."""
    return bool(names.own_parameters(module)) or hasattr(module, "parametrizations")


def type_name(module: nn.Module) -> str:
    """The class of a module as its author knows it, before `fully_shard` or a parametrisation changed it."""
    return type(module).__name__.removeprefix("FSDP").removeprefix("Parametrized")


def _has_forward(module: nn.Module) -> bool:
    """Whether a module can be called and heard: lists and dictionaries of modules cannot."""
    return takes_hooks(module) and not isinstance(module, (nn.ModuleList, nn.ModuleDict))


def is_default(module: nn.Module) -> bool:
    """Whether a module is watched where nobody chooses."""
    if normalises(module):
        return True
    if isinstance(module, _CARRY_WEIGHTS) or keras_layers.is_whole(module):
        return True
    # Adapters as PEFT's: the output of the layer and its adapter together is what the layer gave before.
    if isinstance(getattr(module, "base_layer", None), nn.Module):
        return True
    return owns_weights(module) and not any(True for part in _parts(module) for _ in names.parameters(part))


def _parts(module: nn.Module) -> list[nn.Module]:
    return [part for name, part in names.parts(module) if name != "parametrizations"]


def _may_name(glob: str, module: str) -> bool:
    """Whether a glob can match a site of this module: after its name comes what only a forward shows.

    >>> _may_name("cell#2", "cell"), _may_name("head.logits", "head"), _may_name("header", "head")
    (True, True, False)
    """
    ends = [place for place, sign in enumerate(glob) if sign in "#.["]
    return any(fnmatchcase(module, glob[:end]) for end in (len(glob), *ends))


def _matches(selector: Any, name: str, module: nn.Module) -> bool:
    if isinstance(selector, str):
        return is_leaf(module) if selector == "all" else fnmatchcase(name, selector)
    if isinstance(selector, nn.Module):
        return module is unwrapped(selector)
    if isinstance(selector, type):
        return isinstance(module, selector)
    if callable(selector):
        return bool(selector(name, module))
    raise RecordingError(f"sites must be chosen by glob, module type, module or callable, not by {selector!r}")


def as_sites(sites: Selector | Iterable[Selector] | Sites | None) -> Sites:
    """Returns what somebody chose as `Sites`: one selector or several, None for the default."""
    several = isinstance(sites, Iterable) and not isinstance(sites, (str, type, nn.Module))
    return sites if isinstance(sites, Sites) else Sites(tuple(sites) if several else sites)  # type: ignore[arg-type]
