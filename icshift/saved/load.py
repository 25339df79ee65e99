"""Reading one saved model, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.saved.choose import choose_part, state_of
from icshift.saved.faults import as_model_error
from icshift.saved.find import SavedModel
from icshift.saved.formats import distributed, exported, huggingface, pickled, safetensors, shards
from icshift.saved.names import unwrapped_names


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a saved model holds: its tensors by name, on the CPU, and the module itself where a whole one was unpickled.

    `key` is the name that the state dict has in the file, "" where it is all there is. `epoch` and `step` say how far
    the training was, None where the file does not. Tensors may be mapped from the file: copy them, as `fit` does,
    before the file changes.
    """

    state: dict[str, Tensor]
    module: nn.Module | None
    key: str
    epoch: int | float | None
    step: int | None


def load(saved: SavedModel, *, unsafe: bool = False, key: str | None = None) -> Loaded:
    """Reads the state dict of a saved model. Raises `ModelError`, in one line, for whatever keeps it from being read.

    Runs no code of the file unless `unsafe`. `key` says which of several state dicts in one file is meant, such as
    `generator` or `ema`; without it, it is chosen by the rule that `saved.choose` describes.
    """
    with as_model_error(saved.path):
        return _load(saved, unsafe=unsafe, key=key)


def build(saved: SavedModel, *, unsafe: bool = False, partial: bool = False) -> nn.Module:
    """Builds the model itself, where the file says what it is: a Hugging Face directory, torch.export, a whole module.

    The saved weights are in it. `partial` accepts weights that do not fit all of the model. Raises `ModelError` where
    the file holds weights alone.
    """
    with as_model_error(saved.path):
        if saved.format == "exported":
            return exported.module(saved.path, unsafe=unsafe)
        loaded = _load(saved, unsafe=unsafe, key=None)
        if saved.format == "huggingface":
            return huggingface.build(saved.path, loaded.state, partial=partial)
        if loaded.module is None:
            raise ModelError("holds weights alone, not the model they belong to; say which with --model package:Class")
        return loaded.module


def _load(saved: SavedModel, *, unsafe: bool, key: str | None) -> Loaded:
    module = None
    if saved.format == "distributed":
        listed = distributed.listed(saved.path)
        used, part = choose_part(listed.nested, key)
        placeholders = state_of(part)  # Of the tensors only those of the model are read.
        state = {name: distributed.tensor(saved.path, listed, empty) for name, empty in placeholders.items()}
    else:
        used, part = choose_part(_content(saved, unsafe=unsafe), key)
        state = {name: tensor.detach() for name, tensor in state_of(part).items()}
        module = part if isinstance(part, nn.Module) else None
    return Loaded(unwrapped_names(state), module, used, saved.epoch, saved.step)


def _content(saved: SavedModel, *, unsafe: bool) -> Any:
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
            raise ModelError(
                "is TorchScript, whose parts run without telling anybody: forward hooks on them never fire; save the"
                " state_dict() of the model it was made from"
            )
    raise ModelError(f"has the format {saved.format!r}, which icshift does not read")
