"""Finding saved models: all that are at given paths, in the order in which the training made them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from icshift import regular
from icshift.errors import ModelError
from icshift.saved.faults import as_model_error, first_few
from icshift.saved.formats import detect, distributed, huggingface, pickled, safetensors
from icshift.saved.order import SavedModel, in_order, labelled

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pt2", ".pth.tar")
_BESIDE = re.compile(
    r"(^|[^a-z])(optim(izers?|s)?|((lr|warmup)_?)?schedulers?|((grad|amp)_?)?scaler|training_args|rng_state"
    r"|random_states)([^a-z]|$)|^dist_|_extra_states?\.",
    re.IGNORECASE,
)
"""Names of what trainings save beside a model."""

_EPOCHS = ("epoch", "epochs", "current_epoch", "epoch_idx")
_STEPS = ("global_step", "step", "steps", "iteration", "iter", "iter_num", "num_updates", "global_steps")


def find(paths: Iterable[Path]) -> list[SavedModel]:
    """Every saved model at the paths, a directory standing for all in it, in training order and each once.

    The order, as far as anything tells it, and the labels are those of `saved.order`. A directory is one model (Hugging
    Face, `torch.distributed.checkpoint`), and where its own directories are such too, as those of a Trainer, it is
    those and itself. What trainings save beside models (`optimizer.pt`) is left out.

    Raises `ModelError` for a path that is not there, a directory without models, a file that is none.
    """
    unique: dict[Path, tuple[Path, Path | None]] = {}
    for path in paths:
        with as_model_error(path):
            expanded = list(_expanded(Path(path)))
            within = None if expanded == [Path(path)] else Path(path)
            for model in expanded:
                place = model.resolve()
                if place not in unique or unique[place][0].is_symlink():
                    unique[place] = model, within
    if not unique:
        raise ModelError("no saved model given; name files or a directory of them")
    ordered = in_order([_saved_model(path, within) for path, within in unique.values()])
    return labelled([*ordered.models, *ordered.placeless])


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
        yield from [*directories, path]
        return
    models = directories + [child for child in inner if child.is_file() and _is_model(child)]
    if not models:
        deeper = [child.name for child in inner if child.is_dir() and _holds_models(child)]
        where = f", as {first_few(deeper)} in it: name those" if deeper else ""
        raise ModelError(
            f"holds no saved model: expected files that end in {', '.join(_SUFFIXES)}, or checkpoint-*/{where}"
        )
    yield from models


def _holds_models(directory: Path) -> bool:
    with suppress(OSError):
        return any(
            detect.of_directory(child) is not None if child.is_dir() else child.is_file() and _is_model(child)
            for child in directory.iterdir()
        )
    return False


def _is_model(file: Path) -> bool:
    if not file.name.endswith(_SUFFIXES) or _BESIDE.search(file.name) or file.name.startswith("."):
        return False
    if file.suffix != ".bin":
        return True
    with regular.opened(file) as opened:  # Data have that suffix too: only a zip archive or a pickle is a model.
        return opened.read(2).startswith((b"PK", b"\x80"))


def _saved_model(path: Path, within: Path | None) -> SavedModel:
    """The model at a path, under its name; `find` gives labels."""
    with as_model_error(path):
        kind = (detect.of_directory(path) or "") if path.is_dir() else detect.of_file(path)
        progress = _progress(path, kind)
        epoch, step = _number(progress, _EPOCHS), _number(progress, _STEPS)
        return SavedModel(path, kind, path.name, epoch, None if step is None else int(step), within)


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
