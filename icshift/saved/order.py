"""The order in which a training made its saved models, as far as anything tells it, and what to call them.

Epochs and steps that files store tell it, else numbers in names (`epoch-2` before `epoch-10`). Of a name without a
number a word may: what is called `init` comes first, what is called `last` or `final` comes last. `best` may be from
any time, and so may a name without a number beside such with one: that one has no place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os.path import commonpath
from pathlib import Path

from icshift.saved.faults import one_line

_WORDS = {
    "first": ("init", "initial", "initialisation", "initialization", "start", "untrained", "pretrained"),
    "last": ("last", "final", "latest", "end", "finished"),
    "best": ("best",),
}
_PARTS = re.compile(r"\d+\.\d+|\d+|\D+", re.ASCII)
"""A name in parts: fractions (a score), whole numbers, and what is between them."""


@dataclass(frozen=True)
class SavedModel:
    """One saved model, not read yet: its path, its format, what to call it, and how far its training was.

    `format` is a name that `formats.detect` gives. `label` is unique among the models that were found together. `epoch`
    and `step` are None where the file does not say them. `within` is the directory that was named and holds it, None
    where its own path was.
    """

    path: Path
    format: str
    label: str
    epoch: int | float | None = None
    step: int | None = None
    within: Path | None = None


@dataclass(frozen=True)
class Ordered:
    """Saved models in training order; `told` is false where that is no more than the order of their names, or given.

    `placeless` are those of which nothing tells when the training made them, beside others of which something does.
    """

    models: list[SavedModel]
    told: bool
    placeless: list[SavedModel]


def in_order(models: Sequence[SavedModel]) -> Ordered:
    """Puts saved models into training order, as the module describes it.

    Where all would have no place, or only one has, they keep the order of their names, and those whose paths were named
    that in which they were.
    """
    by_name = sorted(models, key=lambda model: _natural(model.path))
    if known := _kinds(by_name):
        return Ordered(_by_progress(by_name, known), True, [])
    groups: dict[str, list[SavedModel]] = {"first": [], "": [], "best": [], "last": []}
    wordless = [model for model in by_name if not word(model) and model.path != model.within]
    known = _kinds(wordless)
    for model in by_name:
        groups["" if known and _stored(model) >= known else word(model)].append(model)
    middle, placeless = groups[""], groups["best"] if groups[""] else []
    placed_by = (lambda model: _stored(model) >= known) if known else is_numbered
    if known or any(map(placed_by, middle)):
        placeless += [model for model in middle if not placed_by(model)]
        middle = [model for model in middle if placed_by(model)]
    # What is best at the end is no later than what is last.
    best = [] if placeless else groups["best"]
    placed = [*groups["first"], *(_by_progress(middle, known) if known else middle), *best, *groups["last"]]
    told = bool(known) or _counts(middle)
    told = told and len(groups["first"]) < 2 and len(groups["last"]) < 2 and len(best) < 2
    if len(placed) < 2 or (placeless and not told):
        placed, placeless, told = by_name, [], len(models) == 1
    if not told and all(model.within is None for model in models):
        placed = list(models)
    return Ordered(placed, told, placeless)


def labelled(models: Sequence[SavedModel]) -> list[SavedModel]:
    """The models with labels: the first that tells all apart, of epochs, steps, names, paths below where all are."""
    return [replace(model, label=label) for model, label in zip(models, _labels(models), strict=True)]


def same_moment(one: SavedModel, other: SavedModel) -> bool | None:
    """Whether two saved models are of one moment of a training; None where nothing tells.

    Epoch and step tell it where both store the same kind, else the numbers in names that are alike but for them. Where
    what is stored is the same and those numbers are not, one of the two was not kept up to date.
    """
    names = [_PARTS.findall(model.path.name) for model in (one, other)]
    texts = [[part for part in parts if not part.isdigit()] for parts in names]
    counted = texts[0] == texts[1] and names[0] != names[1]
    stored = _stored(one) & _stored(other)
    if any(getattr(one, kind) != getattr(other, kind) for kind in stored):
        return False
    if stored:
        return None if counted else True
    return False if counted else None


def series(models: Sequence[SavedModel]) -> dict[str, list[SavedModel]]:
    """Saved models whose names are alike but for their numbers, where others have the same numbers: of several models.

    By their names with stars for the numbers; empty where there is one series, as for most trainings.

    >>> found = [SavedModel(Path(f"{n}_net_{part}.pth"), "torch", "") for n in (5, 10) for part in "GD"]
    >>> list(series(found))
    ['*_net_G.pth', '*_net_D.pth']
    """
    named: dict[str, dict[tuple[int, ...], SavedModel]] = {}
    for model in models:
        parts = _PARTS.findall(model.path.name)
        pattern = "".join("*" if part[0].isdecimal() else part for part in parts)
        if model.path != model.within and word(model) != "best":
            named.setdefault(pattern, {})[tuple(int(part) for part in parts if part.isdecimal())] = model
    shared = {
        pattern: list(members.values())
        for pattern, members in named.items()
        if any(len(members.keys() & others.keys()) > 1 for other, others in named.items() if other != pattern)
    }
    return shared if len(shared) > 1 else {}


def _stored(model: SavedModel) -> set[str]:
    return {kind for kind in ("step", "epoch") if getattr(model, kind) is not None}


def _kinds(models: Sequence[SavedModel]) -> set[str]:
    """Which of epoch and step tell models apart: those that all of them store, and not one and the same."""
    kinds = set.intersection(*map(_stored, models)) if models else set()
    return {kind for kind in kinds if len(models) == 1 or len({getattr(model, kind) for model in models}) > 1}


def _by_progress(models: list[SavedModel], kinds: set[str]) -> list[SavedModel]:
    """Sorted by what all of them say of their progress: a step may be one of the whole training or one of its epoch."""
    for kind in ("step", "epoch"):
        if kind in kinds:
            models = sorted(models, key=lambda model: getattr(model, kind))
    return models


def word(model: SavedModel) -> str:
    """What a word in the name says of the model's place: `first`, `last`, `best`; "" where there is none."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.path.name)
    words = re.findall(r"[a-z]+", spaced.lower())
    return next((place for place, known in _WORDS.items() if any(word in known for word in words)), "")


def is_numbered(model: SavedModel) -> bool:
    """Whether the name of a model holds a whole number; that of a directory around others counts for nothing."""
    return model.path != model.within and any(part.isdigit() for part in _PARTS.findall(model.path.stem))


def _counts(models: Sequence[SavedModel]) -> bool:
    """Whether names tell the order: each next one differs from the one before by a whole number first."""
    parts = [_PARTS.findall(str(model.path.absolute().with_suffix(""))) for model in models]
    return all(
        next((a.isdigit() and b.isdigit() for a, b in zip(one, other, strict=False) if a != b), False)
        for one, other in pairwise(parts)
    )


def _natural(path: Path) -> list[tuple[bool, float, str]]:
    """Numbers in names compare as numbers, and a name comes before the same with more to it."""
    parts = _PARTS.findall(str(path.absolute().with_suffix("")))
    return [(not part[0].isdecimal(), float(part[:18]) if part[0].isdecimal() else 0, part) for part in parts]


def _labels(models: Sequence[SavedModel]) -> list[str]:
    for progress in ("epoch", "step"):
        numbers = [getattr(model, progress) for model in models]
        if all(isinstance(number, int) for number in numbers) and len(set(numbers)) == len(models):
            return [f"{progress} {number}" for number in numbers]
    whole = [model.path.absolute() for model in models]
    above = commonpath(whole)
    for names in ([path.name for path in whole], [str(path.relative_to(above)) for path in whole]):
        printable = [one_line(name) for name in names]
        if len(set(printable)) == len(printable):
            return printable
    return [f"{number}: {one_line(path.name)}" for number, path in enumerate(whole, start=1)]
