"""Writing a run: create, append, finish. `run.py` reads it and documents the format.

Every file is written aside and renamed into place, so whoever kills the process leaves files that are
whole, and a run that says it is unfinished.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas  # noqa: F401  (pyarrow loads it at its first table; better now than in the middle of a training)
import pyarrow as pa
import pyarrow.parquet as pq

from icshift.distribution import Distribution, Floats, Half, Ints
from icshift.errors import RunError
from icshift.run import FORMAT, MANIFEST, QUANTILE_COLUMNS, Site, Window, is_run, kept_units

STEP_ROWS = 1_000_000
"""Rows (one a step, site and unit) after which only every second step is kept: about 37 MB of Parquet."""


_BUFFERED_VALUES = 1 << 20
"""Values a site and phase that wait for the next flush: 4 MiB of float32."""

_FLOATS = ("mean", "std", "min", "max", "zero_share")


@dataclass(frozen=True, eq=False)
class StepRows:
    """Some steps of one site in one phase: every array is [steps, units], `quantiles` [5, steps, units]."""

    steps: Ints
    count: Ints
    nonfinite: Ints
    mean: Floats
    std: Floats
    min: Floats
    max: Floats
    zero_share: Floats
    quantiles: Floats


class Recording:
    """A run directory being written by one process (`rank`)."""

    def __init__(self, path: Path, manifest: dict[str, Any], *, force: bool = False, rank: int = 0) -> None:
        """Create the directory. Raises `RunError` if the path exists, unless `force` and it is a run."""
        refuse_existing(path, force=force)
        if path.exists():
            shutil.rmtree(path)
        for folder in ("windows", "steps"):
            (path / folder).mkdir(parents=True)
        self.path = path
        self.stride = 1
        self._rank = rank
        self._manifest = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "finished": False,
            **manifest,
        }
        self._segments: dict[Path, int] = {}
        self._buffers: dict[tuple[str, str], _Buffer] = {}
        self._written = 0
        self.update({})

    def update(self, changes: dict[str, Any]) -> None:
        """Replace some entries of the manifest."""
        self._manifest |= {**changes, "step_stride": self.stride}
        text = json.dumps(self._manifest, indent=1, allow_nan=False)
        _write_aside(self.path / MANIFEST, lambda aside: aside.write_text(text))

    def write_window(self, window: Window, distributions: dict[tuple[str, Site], Distribution]) -> None:
        """Write, or write again, one window: `distributions` by phase and site."""
        tables = [_window_table(window, *key, distribution) for key, distribution in distributions.items()]
        if not tables:
            return
        table = pa.concat_tables(tables, promote_options="permissive")
        table = table.replace_schema_metadata({b"icshift": json.dumps(asdict(window)).encode()})
        path = self.path / "windows" / f"{window.index:06d}.rank{self._rank}.parquet"
        _write_aside(path, lambda aside: pq.write_table(table, aside, compression="lz4"))

    def append_steps(self, phase: str, site: Site, rows: StepRows) -> None:
        """Keep the steps that are on the stride for the next `flush`."""
        buffer = self._buffers.get((phase, site.name))
        if buffer is None:
            buffer = self._buffers[phase, site.name] = _Buffer(phase, site)
        waiting = np.arange(len(rows.steps))
        while len(waiting := waiting[rows.steps[waiting] % self.stride == 0]):
            room = buffer.capacity - buffer.filled
            buffer.append(rows, waiting[:room])
            waiting = waiting[room:]
            if buffer.filled == buffer.capacity:
                self.flush()

    def flush(self) -> None:
        """Write the buffered steps as one segment, and thin all segments when they outgrow `STEP_ROWS`."""
        tables = [buffer.emptied() for buffer in self._buffers.values() if buffer.filled]
        if not tables:
            return
        path = self.path / "steps" / f"{self._written:06d}.rank{self._rank}.parquet"
        self._written += 1
        table = pa.concat_tables(tables)
        self._write_segment(path, table)
        last = int(table["step"].to_numpy().max())
        while sum(self._segments.values()) > STEP_ROWS and self.stride <= last:
            self.stride *= 2
            for segment in list(self._segments):
                self._thin(segment)

    def finish(self, changes: dict[str, Any]) -> None:
        """Flush and mark the run as finished."""
        self.flush()
        self.update({**changes, "finished": True})

    def _thin(self, segment: Path) -> None:
        table = pq.read_table(segment, partitioning=None)
        kept = table["step"].to_numpy() % self.stride == 0
        if kept.any():
            self._write_segment(segment, table.filter(pa.array(kept)))
        else:
            segment.unlink()
            del self._segments[segment]

    def _write_segment(self, path: Path, table: pa.Table) -> None:
        self._segments[path] = table.num_rows
        _write_aside(
            path,
            lambda aside: pq.write_table(
                table, aside, compression="lz4", use_dictionary=["phase", "site"], write_statistics=False
            ),
        )


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raise `RunError` where a new run must not go."""
    if not path.exists():
        return
    if not force:
        raise RunError(f"{path} exists and is kept: choose another path, or force to replace the run")
    if not path.is_dir() or (any(path.iterdir()) and not is_run(path)):
        raise RunError(f"{path} exists and is no icshift run: even with force it is not replaced; choose another path")


def _write_aside(path: Path, write: Any) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    write(aside)
    aside.replace(path)


def _repeated(value: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), [value])


def _window_table(window: Window, phase: str, site: Site, distribution: Distribution) -> pa.Table:
    rows = distribution.units
    columns: dict[str, Any] = {
        "phase": pa.array([phase] * rows),
        "site": pa.array([site.name] * rows),
        "unit": kept_units(site).astype(np.int32),
        "window": np.full(rows, window.index, np.int32),
        "count": distribution.count,
        "nonfinite": distribution.nonfinite,
        **{name: getattr(distribution, name) for name in _FLOATS},
        "sampled": distribution.sampled,
        "w1_error": distribution.w1_error,
        "rank_error": np.full(rows, distribution.rank_error),
        "values": _lists(distribution.values),
    }
    halves: tuple[Half | None, Half | None] = distribution.halves or (None, None)
    for name, half in zip(("odd", "even"), halves, strict=True):
        values = np.empty((rows, 0), distribution.values.dtype) if half is None else half.values
        columns[f"{name}_values"] = _lists(values)
        columns[f"{name}_sampled"] = np.full(rows, -1) if half is None else half.sampled
    return pa.table(columns)


def _lists(values: Floats) -> pa.Array:
    rows, width = values.shape
    return pa.ListArray.from_arrays(pa.array(np.arange(rows + 1, dtype=np.int32) * width), pa.array(values.ravel()))


class _Buffer:
    """Step rows of one site and phase that wait to be written, in memory that is used again after every flush."""

    def __init__(self, phase: str, site: Site) -> None:
        self._phase = phase
        self._site = site
        self._units = kept_units(site).astype(np.int32)
        self.capacity = max(1, _BUFFERED_VALUES // (len(self._units) * (len(_FLOATS) + len(QUANTILE_COLUMNS))))
        self.filled = 0
        self._steps = np.empty(self.capacity, np.int64)
        self._counts = np.empty((2, self.capacity, len(self._units)), np.int32)
        self._floats = np.empty((len(_FLOATS) + len(QUANTILE_COLUMNS), self.capacity, len(self._units)), np.float32)

    def append(self, rows: StepRows, kept: Ints) -> None:
        place = slice(self.filled, self.filled + len(kept))
        self._steps[place] = rows.steps[kept]
        self._counts[0, place] = rows.count[kept]
        self._counts[1, place] = rows.nonfinite[kept]
        for column, name in enumerate(_FLOATS):
            self._floats[column, place] = getattr(rows, name)[kept]
        for column in range(len(QUANTILE_COLUMNS)):
            self._floats[len(_FLOATS) + column, place] = rows.quantiles[column, kept]
        self.filled += len(kept)

    def emptied(self) -> pa.Table:
        steps, total = self.filled, self.filled * len(self._units)
        columns: dict[str, Any] = {
            "phase": _repeated(self._phase, total),
            "site": _repeated(self._site.name, total),
            "step": np.repeat(self._steps[:steps], len(self._units)),
            "unit": np.tile(self._units, steps),
            "count": self._counts[0, :steps].ravel(),
            "nonfinite": self._counts[1, :steps].ravel(),
        }
        for column, name in enumerate((*_FLOATS, *QUANTILE_COLUMNS)):
            columns[name] = self._floats[column, :steps].ravel()
        self.filled = 0
        return pa.table(columns)
