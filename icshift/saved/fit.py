"""Putting a state dict into a model: all that the model needs or nothing, or with `partial` what fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.errors import ModelError
from icshift.model.names import unwrapped
from icshift.model.torch_private import hooks_of_loading
from icshift.saved.choose import is_average
from icshift.saved.faults import MisfitError, as_model_error, first_few
from icshift.saved.formats.huggingface import renamed
from icshift.saved.names import matched, prefixes, twins, unwrapped_names, without_wrappers
from icshift.saved.own_way import Versions, as_loaded, current_versions, renamed_versions, with_versions

_NO_VERSIONS: Versions = MappingProxyType({})


@dataclass(frozen=True)
class Fitted:
    """What `fit` did: how many tensors were loaded, and the names of those that were not.

    `missing` tensors are in the model alone, `unexpected` ones in the state dict alone, `misshapen` ones in both with
    different shapes. What is missing or misshapen stays as the model was initialised. `prefix` was taken off the names
    in the state dict, or off those in the model where it begins with a "-".
    """

    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    prefix: str

    @property
    def left(self) -> str:
        """What stayed at its initialisation, in a sentence; "" where nothing did."""
        names = [*self.missing, *self.misshapen]
        total = self.loaded + len(names)
        return f"{len(names)} of {total} tensors stayed at their initialisation: {first_few(names)}" if names else ""

    @property
    def share(self) -> float:
        """The share of the model's tensors that are loaded, 0 to 1."""
        return self.loaded / max(1, self.loaded + len(self.missing) + len(self.misshapen))


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be loaded: `tensors` under the names that the model has for them, and what `fitted` will say.

    `versions` are those of the modules that saved them, for modules that load by it.
    """

    fitted: Fitted
    tensors: dict[str, Tensor]
    versions: Versions


def fit(
    model: nn.Module,
    state: Mapping[str, Tensor],
    versions: Versions = _NO_VERSIONS,
    *,
    partial: bool = False,
    source: str = "the saved model",
) -> Fitted:
    """Copies a state dict into a model, on whatever device and in whatever precision the model is.

    Raises `ModelError`, which begins with `source`, and changes nothing where the model has a tensor that the state
    dict lacks, or in another shape; `partial` loads what fits. Names may differ by one prefix, by what wrappers put in,
    and by what modules rename as they load (`versions` tells these what saved it). A state dict may hold more than the
    model, and lack what is tied to a weight that it has, the counters of normalisation layers
    (`num_batches_tracked`), and extra state. Lazy modules take the shapes of the state dict.

    >>> fitted = fit(nn.Linear(2, 1), {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)})
    >>> fitted.loaded, fitted.missing
    (2, ())
    """
    planned = plan(model, state, versions, partial=partial, source=source)
    with as_model_error(source):
        _copy(unwrapped(model), planned)
        return planned.fitted


def plan(
    model: nn.Module,
    state: Mapping[str, Tensor],
    versions: Versions = _NO_VERSIONS,
    *,
    partial: bool = False,
    source: str = "the saved model",
) -> Plan:
    """What `fit` would load; nothing is copied. Raises what `fit` would, `MisfitError` for what does not fit."""
    with as_model_error(source):
        return _plan(unwrapped(model), state, versions, partial=partial)


def _plan(model: nn.Module, state: Mapping[str, Tensor], versions: Versions, *, partial: bool) -> Plan:
    ours = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    state = unwrapped_names(state)
    names = _Names.of(ours, state)
    if not names.complete(ours) and (today := _today(model, ours, state, versions, names)) is not None:
        state, names = today
        versions = current_versions(model)
    else:
        versions = renamed_versions(model, versions, names.prefix)
    theirs = {target: state[name] for name, target in names.targets.items()}
    shapes = {name: shape for name, tensor in theirs.items() if (shape := _mismatch(ours[name], tensor))}
    fitting = {name: tensor for name, tensor in theirs.items() if name not in shapes}
    missing = _missing(ours, theirs)
    unexpected = [name for name in state if name not in names.targets]
    fitted = Fitted(len(fitting), tuple(missing), tuple(unexpected), tuple(shapes), names.prefix)
    if not fitting or ((missing or shapes) and not partial):
        raise MisfitError(_misfit(len(ours), fitted, shapes), fitted.share)
    _refuse_useless(ours, fitting)
    return Plan(fitted, fitting, versions)


@dataclass(frozen=True)
class _Names:
    """The name in the model of each name in a state dict that has one, and the prefix that is taken off."""

    prefix: str
    targets: dict[str, str]

    @classmethod
    def of(cls, ours: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> _Names:
        """Raises `ModelError` where the whole model is in a state dict twice and nothing tells which is meant."""
        prefix, targets = matched(ours.keys(), state.keys())
        under = twins([name for name in ours if _is_needed(name)], state.keys(), prefix)
        under = [twin for twin in under if _has_shapes(ours, state, twin)] or under
        usual = [twin for twin in under if not any(map(is_average, twin.split(".")))] or under
        if len(usual) > 1:
            parts = [name[:-1] for name in usual]
            raise ModelError(
                f"holds all of the model under {len(parts)} names ({first_few(parts)}) and nothing tells which is"
                f" meant: choose one with --key, as --key {parts[0]}"
            )
        if usual[0] == prefix:
            return cls(prefix, targets)
        inner = [name.removeprefix(usual[0]) for name in state if name.startswith(usual[0])]
        return cls(usual[0], {usual[0] + name: target for name, target in matched(ours.keys(), inner)[1].items()})

    def complete(self, ours: Mapping[str, Tensor]) -> bool:
        """Whether the state dict has all that the model needs."""
        return not _missing(ours, dict.fromkeys(self.targets.values()))


def _today(
    model: nn.Module, ours: Mapping[str, Tensor], state: Mapping[str, Tensor], versions: Versions, names: _Names
) -> tuple[dict[str, Tensor], _Names] | None:
    """A state dict under the names that this model's classes have today; None where they know no more of it.

    Files keep the names that were current when they were written.
    """
    if (today := renamed(model, state)) is not None:
        return today, _Names("", {name: name for name in today if name in ours})
    for prefix in dict.fromkeys((names.prefix, "", *prefixes(state))):
        if prefix.startswith("-"):
            continue
        plain = {name.removeprefix(prefix): value for name, value in state.items()}
        today = as_loaded(model, plain, renamed_versions(model, versions, prefix)) if len(plain) == len(state) else None
        targets = {name: name for name in today or () if name in ours}
        if today is not None and len(_missing(ours, targets)) < len(
            _missing(ours, dict.fromkeys(names.targets.values()))
        ):
            return today, _Names(prefix, targets)
    return None


def _has_shapes(ours: Mapping[str, Tensor], state: Mapping[str, Tensor], prefix: str) -> bool:
    """Whether the tensors below a prefix have the shapes that the model's have."""
    plain = {without_wrappers(name): value for name, value in ours.items()}
    return not any(_mismatch(plain[name], state[prefix + name]) for name in plain if prefix + name in state)


def _missing(ours: Mapping[str, Tensor], found: Mapping[str, object]) -> list[str]:
    """The names of the model's tensors that were not found, nor anything that they are tied to."""
    tied = {id(ours[name]) for name in found}
    return [name for name in ours if name not in found and id(ours[name]) not in tied and _is_needed(name)]


def _misfit(total: int, fitted: Fitted, shapes: Mapping[str, str]) -> str:
    """What does not fit, and what to do, for a message."""
    facts = [f"{len(fitted.missing)} missing ({first_few(fitted.missing)})"] if fitted.missing else []
    facts += [f"{len(fitted.unexpected)} unexpected ({first_few(fitted.unexpected)})"] if fitted.unexpected else []
    different = first_few(f"{name}: {differing}" for name, differing in shapes.items())
    facts += [f"{len(shapes)} different ({different})"] if shapes else []
    what = f"does not fit: of the {total} tensors of the model, {fitted.loaded} match"
    remedy = "" if not fitted.loaded else "; --partial loads what fits, else check that it is of this model"
    return f"{what}; {', '.join(facts) or 'it is empty'}{remedy}"


def _is_needed(name: str) -> bool:
    """Whether a model computes something else without this tensor: counters and extra state are not needed."""
    return name.rpartition(".")[2] not in ("num_batches_tracked", "_extra_state")


def _mismatch(ours: Tensor, theirs: Tensor) -> str:
    """How two tensors differ in a way that copying does not convert, for a message; "" where it converts all."""
    if is_lazy(theirs):
        return "saved before the first forward gave it a shape"
    if not is_lazy(ours) and ours.shape != theirs.shape and not (ours.ndim == 0 and theirs.shape == (1,)):
        return f"{_shape(theirs)} in the file, {_shape(ours)} in the model"
    kinds = [(tensor.is_floating_point(), tensor.is_complex()) for tensor in (theirs, ours)]
    return "" if kinds[0] == kinds[1] else f"{theirs.dtype} in the file, {ours.dtype} in the model"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "one number"


def _refuse_useless(ours: Mapping[str, Tensor], fitting: Mapping[str, Tensor]) -> None:
    """Refuses tensors without data, and two that differ for one weight that the model has under both names."""
    first: dict[int, str] = {}
    for name, tensor in fitting.items():
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
            raise ModelError(f"has {name} as a tensor that is sparse, quantised or without data; save a plain one")
        if ours[name].is_meta:
            raise ModelError(f"has no place for {name}: the model is on the meta device; build it on the CPU")
        other = first.setdefault(id(ours[name]), name)
        if other != name and not _same(tensor, fitting[other]):
            raise ModelError(f"has different values for {other} and {name}, which are one weight in the model")


def _same(tensor: Tensor, other: Tensor) -> bool:
    return tensor.data_ptr() == other.data_ptr() or torch.equal(tensor, other)


def _copy(model: nn.Module, planned: Plan) -> None:
    """Copies by `load_state_dict`, which modules may override; puts the old values back where one of them refuses."""
    values = model.state_dict() if _loads_in_its_own_way(model) else {}
    kept = (name for name in planned.tensors if isinstance(values.get(name), Tensor) and not is_lazy(values[name]))
    before = {name: values[name].clone() for name in kept}
    try:
        model.load_state_dict(with_versions(planned.tensors, planned.versions), strict=False)
    except Exception as error:
        model.load_state_dict(before, strict=False)
        raise ModelError(f"is refused by the model itself: {type(error).__name__}: {error}") from error


def _loads_in_its_own_way(model: nn.Module) -> bool:
    """Whether a part says how it is loaded, which may fail half-way; PyTorch's way cannot once all is checked."""
    return any(
        (type(module)._load_from_state_dict is not nn.Module._load_from_state_dict or hooks_of_loading(module))
        and not type(module).__module__.startswith("torch.")
        for module in model.modules()
    )
