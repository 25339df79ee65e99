"""Finding saved models: all that are at given paths, in the order in which the training made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path
from typing import Any

from icshift.errors import ModelError
from icshift.saved.faults import as_model_error, one_line
from icshift.saved.formats import detect, distributed, huggingface, pickled, safetensors

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pt2", ".pth.tar")
_BESIDE = re.compile(
    r"optim|scheduler|scaler|training_args|rng_state|random_states|^dist_|_extra_states?\.", re.IGNORECASE
)
"""Names of what trainings save beside a model."""

_EPOCHS = ("epoch", "epochs", "current_epoch", "epoch_idx")
_STEPS = ("global_step", "step", "steps", "iteration", "iter", "iter_num", "num_updates", "global_steps")


@dataclass(frozen=True)
class SavedModel:
    """One saved model, not read yet: its path, its format, what to call it, and how far its training was.

    `format` is a name that `formats.detect` gives. `label` is unique among the models that were found together. `epoch`
    and `step` are None where the file does not say them.
    """

    path: Path
    format: str
    label: str
    epoch: int | float | None = None
    step: int | None = None


def find(paths: Iterable[Path]) -> list[SavedModel]:
    """Every saved model at the paths, a directory standing for all in it, in training order and each once.

    The order is that of the epochs, and within them of the steps, that every model has stored; else that of the names
    (`epoch-2` before `epoch-10`). Labels are unique: the epoch, else the step, else the name. A directory is one model
    (Hugging Face, `torch.distributed.checkpoint`) unless its own directories are, as those of a Trainer: then it is
    those, and what lies beside them is left out. What trainings save beside models (`optimizer.pt`) is left out too.

    Raises `ModelError` for a path that is not there, a directory without models, a file that is none.
    """
    unique: dict[Path, Path] = {}
    for path in paths:
        with as_model_error(path):
            for model in _expanded(Path(path)):
                unique.setdefault(model.resolve(), model)
    if not unique:
        raise ModelError("no saved model given; name files or a directory of them")
    models = _ordered([_saved_model(path) for path in unique.values()])
    return [replace(model, label=label) for model, label in zip(models, _labels(models), strict=True)]


def _expanded(path: Path) -> Iterator[Path]:
    """Yields the saved models at a path: itself, or all in a directory."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise ModelError("is no regular file" if path.exists() else "no such file or directory")
    inner = sorted(path.iterdir())
    directories = [child for child in inner if child.is_dir() and detect.of_directory(child)]
    if detect.of_directory(path):
        yield from directories or [path]
        return
    models = directories + [child for child in inner if child.is_file() and _is_model(child)]
    if not models:
        raise ModelError(f"holds no saved model: expected files that end in {', '.join(_SUFFIXES)}, or checkpoint-*/")
    yield from models


def _is_model(file: Path) -> bool:
    if not file.name.endswith(_SUFFIXES) or _BESIDE.search(file.name) or file.name.startswith("."):
        return False
    if file.suffix != ".bin":
        return True
    with file.open("rb") as opened:  # Data have that suffix too: only a zip archive or a pickle is a model.
        return opened.read(2).startswith((b"PK", b"\x80"))


def _saved_model(path: Path) -> SavedModel:
    """The model at a path, under its name; `find` gives labels."""
    with as_model_error(path):
        kind = (detect.of_directory(path) or "") if path.is_dir() else detect.of_file(path)
        progress = _progress(path, kind)
        epoch, step = _number(progress, _EPOCHS), _number(progress, _STEPS)
        return SavedModel(path, kind, path.name, epoch, None if step is None else int(step))


def _progress(path: Path, kind: str) -> Mapping[Any, Any]:
    """What a saved model holds beside its weights, by name; nothing where only running code would tell."""
    beside: Any = {}
    if kind in ("torch", "legacy", "pickle"):
        beside = pickled.glanced(path, kind)
    elif kind == "safetensors":
        beside = safetensors.metadata(path)
    elif kind == "huggingface":
        beside = huggingface.progress(path)
    elif kind == "distributed":
        beside = distributed.numbers(path)
    return beside if isinstance(beside, Mapping) else {}


def _number(progress: Mapping[Any, Any], names: Iterable[str]) -> int | float | None:
    """The first number that stands under one of the names; text of digits counts, as safetensors keep no numbers."""
    for name in names:
        value = progress.get(name)
        if isinstance(value, str) and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15:
            return int(value) if value == int(value) else value
    return None


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Numbers in names compare as numbers, and a name comes before the same with more to it."""
    parts = re.findall(r"\d+|\D+", str(path.absolute().with_suffix("")))
    return [(not part.isdigit(), int(part[:18]) if part.isdigit() else 0, part) for part in parts]


def _ordered(models: list[SavedModel]) -> list[SavedModel]:
    """Sorted by what all of them say of their progress: a step may be one of the whole training or one of its epoch."""
    models = sorted(models, key=lambda model: _natural(model.path))
    for progress in ("step", "epoch"):
        if _known(models, progress):
            models = sorted(models, key=lambda model: getattr(model, progress))
    return models


def _labels(models: list[SavedModel]) -> list[str]:
    """The first that tells all apart: epochs, steps, names, paths below where all of them are."""
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


def _known(models: list[SavedModel], progress: str) -> bool:
    return all(getattr(model, progress) is not None for model in models)
