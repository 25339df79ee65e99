"""Reading one saved model, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.saved.choose import choose, state_of
from icshift.saved.faults import told
from icshift.saved.find import Found
from icshift.saved.formats import distributed, exported, huggingface, pickled, safetensors, shards
from icshift.saved.names import unwrapped_names


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a saved model holds: its tensors by name, on the CPU, and the module itself where a whole one was unpickled.

    `key` is the name in the file that the state dict was under, "" where it is all there is. Tensors may be mapped
    from the file: copy them, as `fit` does, before the file changes.
    """

    state: dict[str, Tensor]
    module: nn.Module | None
    key: str
    epoch: int | float | None
    step: int | None


def load(found: Found, *, unsafe: bool = False, key: str | None = None) -> Loaded:
    """The state dict of a saved model. Raises `ModelError`, in one line, for whatever keeps it from being read.

    Runs no code of the file unless `unsafe`. `key` says which of several state dicts in one file is meant, such as
    `generator` or `ema`; without, `choose` tells how it is chosen.
    """
    with told(found.path):
        return _load(found, unsafe=unsafe, key=key)


def build(found: Found, *, unsafe: bool = False, partial: bool = False) -> nn.Module:
    """The model itself, where the file says what it is: a Hugging Face directory, torch.export, a pickled module.

    Its weights are in it. Raises `ModelError` where the file holds weights alone.
    """
    with told(found.path):
        if found.format == "exported":
            return exported.module(found.path, unsafe=unsafe)
        loaded = _load(found, unsafe=unsafe, key=None)
        if found.format == "huggingface":
            return huggingface.build(found.path, loaded.state, partial=partial)
        if loaded.module is None:
            raise ModelError("holds weights alone, not the model they belong to; say which with --model package:Class")
        return loaded.module


def _load(found: Found, *, unsafe: bool, key: str | None) -> Loaded:
    module = None
    if found.format == "distributed":
        listed = distributed.listed(found.path)
        used, part = choose(listed.nested, key)
        state = {name: distributed.read(found.path, listed, stands) for name, stands in state_of(part).items()}
    else:
        used, part = choose(_content(found, unsafe=unsafe), key)
        state = {name: tensor.detach() for name, tensor in state_of(part).items()}
        module = part if isinstance(part, nn.Module) else None
    return Loaded(unwrapped_names(state), module, used, found.epoch, found.step)


def _content(found: Found, *, unsafe: bool) -> Any:
    match found.format:
        case "torch" | "legacy" | "pickle":
            return pickled.read(found.path, found.format, unsafe=unsafe)
        case "safetensors":
            return safetensors.read(found.path)
        case "sharded":
            return shards.read(found.path, unsafe=unsafe)
        case "huggingface" | "adapter":
            return shards.read(huggingface.weights(found.path), unsafe=unsafe)
        case "exported":
            return exported.read(found.path, unsafe=unsafe)
        case "torchscript":
            raise ModelError(
                "is TorchScript, whose parts run without telling anybody: forward hooks on them never fire; save the"
                " state_dict() of the model it was made from"
            )
    raise ModelError(f"has the format {found.format!r}, which icshift does not read")
