"""Which of the saved models that lie in a trainer's directory are the windows of one training, and what is left aside.

Trainers keep copies (`last.ckpt`, `model_best.pth.tar`), parts of other models, what is no model, and models of which
nothing tells when they were made. Between a model and its copy there is no drift, and between two of no known order no
drift means anything: here each is read once, and one is kept for each moment of the training.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from torch import Tensor, nn

from icshift.errors import ModelError
from icshift.saved.choose import is_average
from icshift.saved.faults import MisfitError, NoStateDictError, first_few, one_line
from icshift.saved.fit import Fitted, Plan, plan
from icshift.saved.load import Wanted, load
from icshift.saved.order import SavedModel, in_order, is_numbered, labelled, same_moment, series, word

_HALF = 0.5
"""Of a model's tensors: where fewer fit, a file beside others that do is of another model."""


@dataclass(frozen=True)
class Trajectory:
    """Saved models in training order, with labels, and what has to be told of them and of what was left aside."""

    models: list[SavedModel]
    notes: list[str]


@dataclass(frozen=True)
class _Read:
    """What reading a saved model told: how it fits, a hash of what it puts into the model, and what else it holds."""

    saved: SavedModel
    fitted: Fitted
    content: str
    key: str
    others: tuple[str, ...]


def trajectory(
    found: Sequence[SavedModel], model: nn.Module, wanted: Wanted, after: Callable[[], object] = lambda: None
) -> Trajectory:
    """Those of the saved models that are moments of one training of `model`; `after` is called after each is read.

    Nothing is put into the model. Raises `ModelError` where one does not fit or cannot be read, unless a directory
    holds it among others that do: then it is left aside if it is no model, or one of which more than half does not fit.
    """
    reads: list[_Read] = []
    refused: dict[SavedModel, ModelError] = {}
    for saved in found:
        try:
            reads.append(_read(saved, model, wanted))
        except (NoStateDictError, MisfitError) as error:
            refused[saved] = error
        after()
    others = [read for read in reads if _is_of_another(read)] if not all(map(_is_of_another, reads)) else []
    fitting = [read for read in reads if read not in others]
    _refuse(refused, fitting)
    notes = _of_no_model(refused) + _of_another(refused, others)
    kept, copies = _without_copies(fitting)
    kept, averages = _of_one_series(kept)
    notes += copies + averages
    ordered = in_order([read.saved for read in kept])
    notes += _of_order(ordered.models, ordered.placeless, told=ordered.told)
    by_path = {read.saved.path: read for read in kept}
    models = labelled(ordered.models)
    named = [(one.label, by_path[one.path]) for one in models]
    return Trajectory(models, notes + _of_parts(named, wanted) + _of_fit(named))


def _read(saved: SavedModel, model: nn.Module, wanted: Wanted) -> _Read:
    loaded = load(saved, wanted)
    planned = plan(model, loaded.state, loaded.versions, partial=wanted.partial, source=str(saved.path))
    return _Read(saved, planned.fitted, _hash(planned), loaded.key, loaded.others)


def _hash(planned: Plan) -> str:
    """A hash of all that would be put into the model."""
    digest = blake2b(digest_size=16)
    for name in sorted(planned.tensors):
        values = planned.tensors[name].detach()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(_bytes(values))
    return digest.hexdigest()


def _bytes(values: Tensor) -> memoryview:
    return values.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _is_of_another(read: _Read) -> bool:
    return read.saved.within is not None and read.fitted.share < _HALF


def _refuse(refused: dict[SavedModel, ModelError], fitting: Sequence[_Read]) -> None:
    """Raises the first error that is of more than a file beside the models."""
    for saved, error in sorted(refused.items(), key=lambda pair: isinstance(pair[1], NoStateDictError)):
        aside = isinstance(error, NoStateDictError) or (isinstance(error, MisfitError) and error.share < _HALF)
        if saved.within is None or not fitting or not aside:
            raise error


def _of_no_model(refused: dict[SavedModel, ModelError]) -> list[str]:
    no_model = {saved: error for saved, error in refused.items() if isinstance(error, NoStateDictError)}
    if not no_model:
        return []
    saved, error = next(iter(no_model.items()))
    reason = str(error).removeprefix(f"{saved.path}: ")
    return [f"left aside, since no model is read from it: {_few(one.path.name for one in no_model)} ({reason})"]


def _of_another(refused: dict[SavedModel, ModelError], others: Iterable[_Read]) -> list[str]:
    names = [saved.path.name for saved, error in refused.items() if isinstance(error, MisfitError)]
    names += [read.saved.path.name for read in others]
    return [f"left aside, since most of the model is not in it: {_few(names)}"] if names else []


def _without_copies(reads: Sequence[_Read]) -> tuple[list[_Read], list[str]]:
    """One of those that have the same weights or are of the same step, and a line on the others.

    A model that stood still has the same weights at two moments: those are no copies. Of the same step but with other
    weights counts only what one directory holds.
    """
    kept: list[_Read] = []
    copies: dict[str, SavedModel] = {}
    rivals: dict[str, SavedModel] = {}
    for read in sorted(reads, key=_likeness_to_a_copy):
        for first in kept:
            moment = same_moment(read.saved, first.saved)
            if read.content == first.content and moment is not False:
                copies[f"{read.saved.path.name} of {first.saved.path.name}"] = first.saved
                break
            if moment and read.saved.step is not None and _lie_together(read.saved, first.saved):
                rivals[f"{read.saved.path.name} as {first.saved.path.name}"] = first.saved
                break
        else:
            kept.append(read)
    order = [read.saved for read in reads]
    same, other = (sorted(named, key=lambda name: order.index(named[name])) for named in (copies, rivals))
    notes = [f"one window for a model and its copy with the same weights: {_few(same)}"] if same else []
    notes += [f"left aside, since of the same step with other weights: {_few(other)}"] if other else []
    return [read for read in reads if read in kept], notes


def _likeness_to_a_copy(read: _Read) -> tuple[bool, bool, bool]:
    """The smaller, the more a name tells of the moment: a number does, `last` or a directory around others does not."""
    return read.saved.path == read.saved.within, bool(word(read.saved)), not is_numbered(read.saved)


def _lie_together(one: SavedModel, other: SavedModel) -> bool:
    return one.within is not None and one.within == other.within


def _of_one_series(reads: list[_Read]) -> tuple[list[_Read], list[str]]:
    """Those of one model, where names tell several apart by what is not a number, and a line on averages left aside.

    Raises `ModelError` where nothing tells which model is meant.
    """
    found = series([read.saved for read in reads])
    plain = [name for name in found if not any(map(is_average, re.findall("[a-z]+", name.lower())))]
    if found and len(plain) != 1:
        raise ModelError(
            f"these are {len(found)} series of models ({first_few(found)}) that all fit, and nothing tells which is"
            f" meant: name those of one, as {next(iter(found))}"
        )
    aside = [name for name in found if name not in plain]
    others = {saved for name in aside for saved in found[name]}
    notes = [f"left aside, since averages of the weights by their names: {_few(aside)}"] if aside else []
    return [read for read in reads if read.saved not in others], notes


def _of_order(models: Sequence[SavedModel], placeless: Sequence[SavedModel], *, told: bool) -> list[str]:
    notes = []
    if placeless:
        names = _few(model.path.name for model in placeless)
        notes.append(f"left aside, since nothing tells when the training made it: {names}; name it alone to measure it")
    if not told:
        given = all(model.within is None for model in models)
        order = "in which they were given" if given else "of their names"
        notes.append(f"nothing tells in which order the training made these models: they are in that {order}")
    return notes


def _of_parts(named: Sequence[tuple[str, _Read]], wanted: Wanted) -> list[str]:
    others = list(dict.fromkeys(other for _, read in named for other in read.others))
    if not others or wanted.key is not None:
        return []
    used = ", ".join(dict.fromkeys(read.key for _, read in named))
    return [f"taken: {used}; left aside: {first_few(others)}, which --key takes"]


def _of_fit(named: Sequence[tuple[str, _Read]]) -> list[str]:
    """Lines on what stays at its initialisation, and on what files hold and the model has no place for."""
    notes = [f"{label}: {read.fitted.left}" for label, read in named if read.fitted.left]
    extra = list(dict.fromkeys(name for _, read in named for name in read.fitted.unexpected))
    if extra:
        count = f"{len(extra)} tensor{'s' if len(extra) > 1 else ''}"
        notes.append(f"left aside, since the model has no such: {count} of the files ({first_few(extra)})")
    return notes


def _few(names: Iterable[str]) -> str:
    return one_line(first_few(names))
