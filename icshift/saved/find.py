"""Saved models at given paths, in the order in which the training made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os.path import commonpath
from pathlib import Path
from typing import Any

from icshift.errors import ModelError
from icshift.saved.faults import one_line, told
from icshift.saved.formats import detect, distributed, huggingface, pickled, safetensors

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pt2", ".pth.tar")
_BESIDE = re.compile(
    r"optim|scheduler|scaler|training_args|rng_state|random_states|^dist_|_extra_states?\.", re.IGNORECASE
)
"""Names of what trainings save beside a model."""

_EPOCHS = ("epoch", "epochs", "current_epoch", "epoch_idx")
_STEPS = ("global_step", "step", "steps", "iteration", "iter", "iter_num", "num_updates", "global_steps")


@dataclass(frozen=True)
class Found:
    """One saved model: where, in which format (as `formats` names them), what to call it, and how far training was."""

    path: Path
    format: str
    label: str
    epoch: int | float | None = None
    step: int | None = None


def find(paths: Iterable[Path]) -> list[Found]:
    """Every saved model at the paths, a directory standing for all in it, in training order and each once.

    The order is that of the epochs, and within them of the steps, that every model has stored; else that of the names
    (`epoch-2` before `epoch-10`). Labels are unique: the epoch, else the step, else the name. A directory is one model
    (Hugging Face, `torch.distributed.checkpoint`) unless its own directories are, as those of a Trainer: then it is
    those, and what lies beside them is left out. What trainings save beside models (`optimizer.pt`) is left out too.

    Raises `ModelError` for a path that is not there, a directory without models, a file that is none.
    """
    unique: dict[Path, Path] = {}
    for path in paths:
        with told(path):
            for model in _expanded(Path(path)):
                unique.setdefault(model.resolve(), model)
    if not unique:
        raise ModelError("no saved model given; name files or a directory of them")
    models = _ordered([_found(path) for path in unique.values()])
    return [replace(found, label=label) for found, label in zip(models, _labels(models), strict=True)]


def _expanded(path: Path) -> Iterator[Path]:
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
    with file.open("rb") as opened:  # Data have that suffix too.
        return opened.read(2).startswith((b"PK", b"\x80"))


def _found(path: Path) -> Found:
    with told(path):
        kind = (detect.of_directory(path) or "") if path.is_dir() else detect.of_file(path)
        progress = _progress(path, kind)
        epoch, step = _number(progress, _EPOCHS), _number(progress, _STEPS)
        return Found(path, kind, path.name, epoch, None if step is None else int(step))


def _progress(path: Path, kind: str) -> Mapping[Any, Any]:
    """What a saved model says beside its weights. Nothing where only running code would tell."""
    said: Any = {}
    if kind in ("torch", "legacy", "pickle"):
        said = pickled.glanced(path, kind)
    elif kind == "safetensors":
        said = safetensors.metadata(path)
    elif kind == "huggingface":
        said = huggingface.progress(path)
    elif kind == "distributed":
        said = distributed.numbers(path)
    return said if isinstance(said, Mapping) else {}


def _number(said: Mapping[Any, Any], names: Iterable[str]) -> int | float | None:
    for name in names:
        value = said.get(name)
        if isinstance(value, str) and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", value):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15:
            return int(value) if value == int(value) else value
    return None


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Numbers in names compare as numbers, and a name comes before the same with more to it."""
    parts = re.findall(r"\d+|\D+", str(path.absolute().with_suffix("")))
    return [(not part.isdigit(), int(part[:18]) if part.isdigit() else 0, part) for part in parts]


def _ordered(models: list[Found]) -> list[Found]:
    """Sorted by what all of them say of their progress: a step may be one of the whole training or one of its epoch."""
    models = sorted(models, key=lambda found: _natural(found.path))
    for progress in ("step", "epoch"):
        if _known(models, progress):
            models = sorted(models, key=lambda found: getattr(found, progress))
    return models


def _labels(models: list[Found]) -> list[str]:
    """The first that tells all apart: epochs, steps, names, paths below where all of them are."""
    for progress in ("epoch", "step"):
        said = [getattr(found, progress) for found in models]
        if all(isinstance(number, int) for number in said) and len(set(said)) == len(models):
            return [f"{progress} {number}" for number in said]
    whole = [found.path.absolute() for found in models]
    above = commonpath(whole)
    for names in ([path.name for path in whole], [str(path.relative_to(above)) for path in whole]):
        printable = [one_line(name) for name in names]
        if len(set(printable)) == len(printable):
            return printable
    return [f"{number}: {one_line(path.name)}" for number, path in enumerate(whole, start=1)]


def _known(models: list[Found], progress: str) -> bool:
    return all(getattr(found, progress) is not None for found in models)
