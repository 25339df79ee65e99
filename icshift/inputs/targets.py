"""Data with targets: what a loss compares the model's output with, kept in the batches beside the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from icshift.errors import ModelError, unknown
from icshift.inputs.batches import Batch
from icshift.inputs.data import Data, Reading, as_data, contents, forward_arguments, required_arguments
from icshift.inputs.files import as_tensor

TARGETS = ("target", "targets", "label", "labels", "y", "class", "classes")
"""Names of arrays and columns that are taken for targets."""

_KEPT = " target "
"""Where a batch keeps its targets beside the arguments of the forward; no argument has a name with spaces."""


def read_with_targets(spec: str, model: nn.Module, reading: Reading, target: str | None = None) -> Data:
    """Data as `read_data` takes them, with targets in every batch; `separated` takes these out again.

    Targets are the array or column of that name, or of one of `TARGETS`; else the last positional array (npz without
    names, a tuple, a batch of a DataLoader) where there is one more than forward asks for. Whole numbers stay integers.
    Raises `ModelError` where there are none, or several and no telling which.
    """
    name = None if _is_table(spec) else target  # A table's target is apart already.
    return as_data(
        _contents(spec, target, reading.limit), model, reading, spec, to_arguments=partial(_with_target, name=name)
    )


def separated(batch: Batch) -> tuple[Batch, Any]:
    """A batch without its targets, and the targets; these are None where there are none."""
    positional, keyword = batch
    return (positional, {name: value for name, value in keyword.items() if name != _KEPT}), keyword.get(_KEPT)


def _with_target(values: Any, model: nn.Module, source: str, *, name: str | None) -> Batch:
    """The arguments of the forward with the targets among them; `name` is that of the targets, if one was given."""
    if isinstance(values, Mapping):
        inputs, target = _by_name(dict(values), model, source, name)
    elif len(values) == 2 and isinstance(values[0], tuple) and isinstance(values[1], dict):
        named, target = _by_name(values[1], model, source, name)
        inputs = values[0], named
    else:
        inputs, target = _by_place(tuple(values), model, source, name)
    positional, keyword = forward_arguments(inputs, model, source)
    return positional, {**keyword, _KEPT: as_tensor(target, f"the target of {source}")}


def _by_name(named: dict[str, Any], model: nn.Module, source: str, name: str | None) -> tuple[Any, Any]:
    if name is not None and name not in named:
        raise ModelError(f"{source}: {unknown('array', name, named)}")
    targets = [name] if name is not None else _targets_among(named)
    if not targets and all(array.startswith("arr_") for array in named):
        return _by_place(tuple(named.values()), model, source, None)
    if len(targets) > 1:
        raise ModelError(f"{source} holds {' and '.join(targets)}: say which is the target with --target NAME")
    if not targets:
        raise _no_target(source, ", ".join(f"{array} {_shape(value)}" for array, value in named.items()) or "nothing")
    return {array: value for array, value in named.items() if array != targets[0]}, named[targets[0]]


def _by_place(values: tuple[Any, ...], model: nn.Module, source: str, name: str | None) -> tuple[Any, Any]:
    count = len(values)
    if name is not None:
        raise ModelError(f"{source} holds {_arrays(count)} without a name: --target {name} is for arrays with names")
    asked = max(1, required_arguments(model))
    if count <= asked:
        takes = f"forward of {type(model).__name__} takes {asked} and there is none after"
        raise _no_target(source, f"{_arrays(count)} ({', '.join(map(_shape, values))}), {takes}")
    return values[:-1], values[-1]


def _contents(spec: str, target: str | None, limit: int | None) -> Any:
    """A table as a pair, its other columns and that of the target; everything else as `contents` gives it."""
    values = contents(spec, limit)
    if not _is_table(spec):
        return values
    columns = _columns(Path(spec))
    if target is not None and target not in columns:
        raise ModelError(f"{spec}: {unknown('column', target, columns)}")
    targets = [target] if target is not None else _targets_among(columns)
    if len(targets) > 1:
        raise ModelError(f"{spec} has columns {' and '.join(targets)}: say which is the target with --target NAME")
    if not targets:
        raise _no_target(spec, f"the columns {', '.join(columns[:6])}{', …' if len(columns) > 6 else ''}")
    return np.delete(values, columns.index(targets[0]), axis=1), _column(Path(spec), targets[0])


def without_targets(spec: str, target: str | None, limit: int | None = None) -> tuple[Any, list[str]]:
    """What a spec names without the columns of a table that hold targets, and a sentence on each that is left out.

    These are the column of the name `target` or, if it is None, those of the names `TARGETS`; with `none` all are
    kept. `limit` is as in `contents`. Raises `ModelError` as that does, and for a column that is not there.
    """
    values = contents(spec, limit)
    if not _is_table(spec) or target == "none":
        return values, []
    columns = _columns(Path(spec))
    if target is not None and target not in columns:
        raise ModelError(f"{spec}: {unknown('column', target, columns)}")
    gone = _targets_among(columns) if target is None else [target]
    if target is None and len(gone) == len(columns):
        return values, []
    said = "is the target" if target else "looks like a target"
    notes = [
        f"{spec}: column {name!r} {said}: left out{'' if target else ' (--target none keeps it)'}" for name in gone
    ]
    return np.delete(values, [columns.index(name) for name in gone], axis=1), notes


def _is_table(spec: str) -> bool:
    return Path(spec).suffix.lower() in (".csv", ".parquet")


def _columns(path: Path) -> list[str]:
    import pandas as pd

    if path.suffix.lower() == ".csv":
        return [str(name) for name in pd.read_csv(path, nrows=0).columns]
    from pyarrow.parquet import read_schema

    return [str(name) for name in read_schema(path).names]


def _column(path: Path, name: str) -> Any:
    """One column in its own type: whole numbers are classes."""
    import pandas as pd

    if path.suffix.lower() == ".csv":
        return pd.read_csv(path, usecols=[name])[name].to_numpy()
    return pd.read_parquet(path, columns=[name])[name].to_numpy()


def _targets_among(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.lower() in TARGETS]


def _no_target(source: str, found: str) -> ModelError:
    return ModelError(
        f"{source} holds no target, but {found}: name it target, label, y or class, say which with --target NAME, "
        "or take --loss own where the model computes its loss"
    )


def _arrays(count: int) -> str:
    return "one array" if count == 1 else f"{count} arrays"


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, (Tensor, np.ndarray)) else type(value).__name__
