"""Saved models as a measurement needs them: to be put into one model, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.saved.fit import fit
from icshift.saved.load import Wanted, load
from icshift.saved.order import SavedModel

_SEED = 20150211


@dataclass(frozen=True)
class Snapshot:
    """A saved model: its name, the step it was saved at where that is known, and how it gets into a model.

    `put` reads the file and copies its tensors into a model. It returns, in a sentence, which tensors of the model stay
    at their initialisation ("" where none does), and raises `ModelError` where the file cannot be read or does not fit.
    """

    name: str
    step: int | None
    put: Callable[[nn.Module], str]


def snapshots(found: Sequence[SavedModel], model: nn.Module, wanted: Wanted) -> list[Snapshot]:
    """Saved models for `model`, in the order given; files are read only when they are needed.

    With `partial`, tensors that a file lacks are as the model has them now, not as the file before left them.
    """
    state = model.state_dict() if wanted.partial else {}
    initial = {name: value.clone() for name, value in state.items() if isinstance(value, Tensor) and not is_lazy(value)}

    def snapshot(one: SavedModel) -> Snapshot:
        def put(model: nn.Module) -> str:
            if initial:
                model.load_state_dict(initial, strict=False)
            loaded = load(one, wanted)
            fitted = fit(model, loaded.state, loaded.versions, partial=wanted.partial, source=str(one.path))
            return fitted.left

        return Snapshot(one.label, one.step, put)

    return [snapshot(one) for one in found]


@contextmanager
def same_draws() -> Iterator[None]:
    """What is initialised within is the same in every process, and when a run is resumed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield
