"""Reading one saved model, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.saved.choose import Part, choose_part, other_parts, state_of, versions_of
from icshift.saved.faults import NoStateDictError, as_model_error
from icshift.saved.formats import distributed, exported, huggingface, outlined, pickled, safetensors, shards
from icshift.saved.names import unwrapped_names, unwrapping
from icshift.saved.order import SavedModel

_State = dict[str, Tensor]

_MOST_STRETCHED = 64 << 20
"""Bytes that a tensor may be said to have beyond those of its storage, as an expanded buffer has."""


@dataclass(frozen=True)
class Wanted:
    """How saved models are read.

    `key` is the part of each file that is meant, such as `generator` or `ema`, None where the rule that `saved.choose`
    describes chooses it. `partial` takes what fits a model; `unsafe` lets pickled files run their code.
    """

    key: str | None = None
    partial: bool = False
    unsafe: bool = False


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a saved model holds: its tensors by name, on the CPU, and the module itself where a whole one was unpickled.

    `key` is the name that the state dict has in the file, "" where it is all there is; `others` are those of the state
    dicts beside it. `versions` says of the modules, by name, what the state dict tells of their versions. `epoch` and
    `step` say how far the training was, None where the file does not. `whole` is the class of a module that was saved
    whole and of which only the weights were read, "" where there is none. Tensors may be mapped from the file: copy
    them, as `fit` does, before the file changes.
    """

    state: dict[str, Tensor]
    module: nn.Module | None
    key: str
    epoch: int | float | None
    step: int | None
    others: tuple[str, ...] = ()
    versions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    whole: str = ""


def load(saved: SavedModel, wanted: Wanted = Wanted()) -> Loaded:
    """Reads the state dict of a saved model. Raises `ModelError`, in one line, for whatever keeps it from that."""
    with as_model_error(saved.path):
        return _load(saved, wanted)


def build(saved: SavedModel, wanted: Wanted = Wanted()) -> nn.Module:
    """Builds the model itself, where the file says what it is: a Hugging Face directory, torch.export, a whole module.

    The saved weights are in it. Raises `ModelError` where the file holds weights alone.
    """
    with as_model_error(saved.path):
        if saved.format == "exported":
            return exported.module(saved.path, unsafe=wanted.unsafe)
        loaded = _load(saved, wanted)
        if saved.format == "huggingface":
            return huggingface.build(saved.path, loaded.state, partial=wanted.partial)
        if loaded.whole:
            raise ModelError(
                f"holds a whole object of class {loaded.whole}, which only code makes: say with --model what makes it,"
                " and its weights are read without, or, if you trust where it is from, pass --unsafe-pickle"
            )
        if loaded.module is None:
            raise ModelError("holds weights alone, not the model they belong to; say which with --model package:Class")
        return loaded.module


def _load(saved: SavedModel, wanted: Wanted) -> Loaded:
    content, tensors, class_of = _content(saved, unsafe=wanted.unsafe)
    used, part = choose_part(content, wanted.key)
    # Of the tensors only those of the model are read, where the format has them one by one.
    state = tensors(state_of(part))
    refuse_stretched(state)
    unwrap = unwrapping(state)
    return Loaded(
        unwrapped_names(state),
        part if isinstance(part, nn.Module) else None,
        used,
        saved.epoch,
        saved.step,
        other_parts(content, used),
        {unwrap(name): entry for name, entry in versions_of(part).items()},
        class_of(part),
    )


def refuse_stretched(state: Mapping[str, Tensor]) -> None:
    """Raises `ModelError` for a large tensor of which many elements are one: a copy would need more than is stored."""
    for name, tensor in state.items():
        if tensor.layout == torch.strided and tensor.nbytes > max(_MOST_STRETCHED, tensor.untyped_storage().nbytes()):
            raise ModelError(
                f"holds {name!r} of {tensor.nbytes:,} bytes, of which {tensor.untyped_storage().nbytes():,} are stored:"
                " damaged, or made to deceive; of a tensor that was expanded, save a copy made with contiguous()"
            )


def _content(saved: SavedModel, *, unsafe: bool) -> tuple[Any, Callable[[_State], _State], Callable[[Part], str]]:
    """What is in a file, how tensors in it become such with data, and of which class a module is that was saved whole.

    The class is "" for what is a state dict.
    """
    if saved.format == "distributed":
        listed = distributed.listed(saved.path)
        return listed.nested, lambda state: distributed.tensors(saved.path, listed, state), _no_class
    if saved.format == "torch" and not unsafe and (outline := outlined.outlined(saved.path)) is not None:
        return outline.content, outline.tensors, lambda part: outline.whole.get(id(part), "")
    return _read(saved, unsafe=unsafe), _detached, _no_class


def _detached(state: _State) -> _State:
    return {name: tensor.detach() for name, tensor in state.items()}


def _no_class(_: Part) -> str:
    return ""


def _read(saved: SavedModel, *, unsafe: bool) -> Any:
    """All that is in a file, as its format's reader gives it."""
    match saved.format:
        case "torch" | "legacy" | "pickle":
            return pickled.read(saved.path, saved.format, unsafe=unsafe)
        case "safetensors":
            return safetensors.read(saved.path)
        case "sharded":
            return shards.read(saved.path, unsafe=unsafe)
        case "huggingface" | "adapter":
            return shards.read(huggingface.weights_file(saved.path), unsafe=unsafe)
        case "exported":
            return exported.read(saved.path, unsafe=unsafe)
        case "torchscript":
            raise NoStateDictError(
                "is TorchScript, whose parts run without telling anybody: forward hooks on them never fire; save the"
                " state_dict() of the model it was made from"
            )
    raise ModelError(f"has the format {saved.format!r}, which icshift does not read")
