"""Putting a state dict into a model: all of it or nothing, or with `partial` what fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.errors import ModelError
from icshift.model.names import unwrapped
from icshift.saved.faults import as_model_error, first_few
from icshift.saved.formats.huggingface import renamed
from icshift.saved.names import matched, unwrapped_names


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


def fit(
    model: nn.Module, state: Mapping[str, Tensor], *, partial: bool = False, source: str = "the saved model"
) -> Fitted:
    """Copies a state dict into a model, on whatever device and in whatever precision the model is.

    Raises `ModelError`, which begins with `source`, and changes nothing where names or shapes differ; `partial` loads
    what fits. Names may differ by one prefix and by what wrappers put into them. A state dict may lack what is tied to
    a weight that it has, the counters of normalisation layers (`num_batches_tracked`), and extra state. Lazy modules
    take the shapes of the state dict.

    >>> fitted = fit(nn.Linear(2, 1), {"module.weight": torch.ones(1, 2), "module.bias": torch.zeros(1)})
    >>> fitted.loaded, fitted.missing
    (2, ())
    """
    with as_model_error(source):
        target = unwrapped(model)
        fitted, tensors = _plan(target, state, partial=partial)
        _copy(target, tensors)
        return fitted


def check(
    model: nn.Module, state: Mapping[str, Tensor], *, partial: bool = False, source: str = "the saved model"
) -> Fitted:
    """What `fit` would do; nothing is copied. Raises what `fit` would."""
    with as_model_error(source):
        return _plan(unwrapped(model), state, partial=partial)[0]


def _plan(model: nn.Module, state: Mapping[str, Tensor], *, partial: bool) -> tuple[Fitted, dict[str, Tensor]]:
    """What is to be loaded, and the tensors under the names that the model has for them."""
    ours = {name: value for name, value in model.state_dict(keep_vars=True).items() if isinstance(value, Tensor)}
    state = unwrapped_names(state)
    prefix, names = matched(ours.keys(), state.keys())
    if len(names) < len(state) and (today := renamed(model, state)) is not None:
        state, names, prefix = today, {name: name for name in today if name in ours}, ""
    theirs = {target: state[name] for name, target in names.items()}
    shapes = {name: shape for name, tensor in theirs.items() if (shape := _mismatch(ours[name], tensor))}
    fitting = {name: tensor for name, tensor in theirs.items() if name not in shapes}
    tied = {id(ours[name]) for name in theirs}
    missing = [name for name in ours if name not in theirs and id(ours[name]) not in tied and _is_needed(name)]
    unexpected = [name for name in state if name not in names]
    facts = [f"{len(missing)} missing ({first_few(missing)})"] if missing else []
    facts += [f"{len(unexpected)} unexpected ({first_few(unexpected)})"] if unexpected else []
    facts += (
        [f"{len(shapes)} different ({first_few(f'{name}: {differing}' for name, differing in shapes.items())})"]
        if shapes
        else []
    )
    if not fitting or (facts and not partial):
        what = f"does not fit: of the {len(ours)} tensors of the model, {len(fitting)} match"
        remedy = "" if not fitting else "; --partial loads what fits, else check that it is of this model"
        raise ModelError(f"{what}; {', '.join(facts) or 'it is empty'}{remedy}")
    _refuse_useless(ours, fitting)
    return Fitted(len(fitting), tuple(missing), tuple(unexpected), tuple(shapes), prefix), fitting


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


def _copy(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copies by `load_state_dict`, which modules may override; puts the old values back where one of them refuses."""
    values = model.state_dict() if _loads_in_its_own_way(model) else {}
    before = {name: value.clone() for name, value in values.items() if name in tensors}
    try:
        model.load_state_dict(tensors, strict=False)
    except Exception as error:
        model.load_state_dict(before, strict=False)
        raise ModelError(f"is refused by the model itself: {type(error).__name__}: {error}") from error


def _loads_in_its_own_way(model: nn.Module) -> bool:
    """Whether a part overrides how it is loaded, which may fail half-way; PyTorch's way cannot once all is checked."""
    return any(
        type(module)._load_from_state_dict is not nn.Module._load_from_state_dict
        and not type(module).__module__.startswith("torch.")
        for module in model.modules()
    )
