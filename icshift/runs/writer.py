"""Writing a run: create, append, finish. `format.py` says what is in it, `reader.py` reads it.

Every file is written aside and renamed into place, so whoever kills the process leaves files that are
whole, and a run that says it is unfinished.

The processes of a distributed training share a directory without a word to each other: each creates what
is not there yet, and writes, replaces and deletes only files with its own rank in their names. Only rank 0
judges what was there before, for it alone writes the file by which an old run is told from a new one. (With
a barrier the others could wait for its judgement; but then recording could hang a training.)
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icshift.distribution import Distribution
from icshift.errors import RunError
from icshift.runs.arrow_arrays import flags
from icshift.runs.format import (
    FORMAT,
    GRADIENT_SHIFT,
    LOGGED,
    MANIFEST,
    MANIFEST_NAME,
    NO_STEP,
    PART_NAME,
    SMOOTHNESS,
    SMOOTHNESS_IN_FORMAT_1,
    Site,
    StepRows,
    Window,
    entry_of,
    is_run,
    rank_in,
)
from icshift.runs.step_buffer import StepBuffer, step_table
from icshift.runs.window_table import window_table

STEP_ROWS = 1_000_000
"""Rows (one a step, site and unit) after which only every second step is kept: about 37 MB of Parquet."""

_BUFFERED_BYTES = 1 << 25
"""Memory for step rows of all sites and phases that wait for the next flush."""

_ASIDE = re.compile(r"\.(.+)\.[0-9]+")
_FOLDERS = ("windows", "steps", GRADIENT_SHIFT, SMOOTHNESS, SMOOTHNESS_IN_FORMAT_1, LOGGED)


class Recording:
    """A run directory that one process writes to: number `rank` of the `ranks` that do.

    Windows are on disk when `write_window` returns; steps and other series wait for `flush`.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], *, force: bool = False, rank: int = 0, ranks: int = 1
    ) -> None:
        """Create what the other ranks did not. Raises `RunError` where `refuse_occupied` does."""
        refuse_occupied(path, force=force, rank=rank, ranks=ranks)
        if force:
            _delete(path, rank, ranks)
        self._begin(path, manifest, rank, ranks)

    @classmethod
    def reopened(cls, path: Path, manifest: dict[str, Any], *, rank: int = 0, ranks: int = 1) -> Recording:
        """Returns a recording that goes on with a run of windows without step series: what is there stays.

        The caller has to make sure that these windows belong to this manifest, and that as many processes go on as
        began.
        """
        recording = cls.__new__(cls)
        recording._begin(path, manifest, rank, ranks)
        return recording

    def _begin(self, path: Path, manifest: dict[str, Any], rank: int, ranks: int) -> None:
        for folder in ("windows", "steps"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        self.path = path
        self.stride = 1
        self._rank = rank
        self._manifest = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "finished": False,
            "ranks": ranks,
            **manifest,
        }
        self._segments: dict[Path, int] = {}
        self._buffers: dict[tuple[str, str], StepBuffer] = {}
        self._measured: dict[str, list[dict[str, Any]]] = {}
        self._written = 0
        self._texts: dict[str, tuple[list[Any], str]] = {}
        self.update({})

    def update(self, changes: dict[str, Any]) -> None:
        """Replaces some entries of the manifest, and writes it."""
        self._manifest |= {**changes, "step_stride": self.stride}
        entries = [f"{json.dumps(key)}: {self._text(key, value)}" for key, value in self._manifest.items()]
        text = "{\n " + ",\n ".join(entries) + "\n}\n"
        _write_aside(self.path / _manifest_name(self._rank), lambda aside: aside.write_text(text))

    def _text(self, key: str, value: Any) -> str:
        """Returns an entry of the manifest as JSON; a list, of sites or modules, is written down once for all times."""
        if not isinstance(value, list) or not value:
            return json.dumps(value, allow_nan=False)
        known, text = self._texts.get(key, (None, ""))
        if known is not value:
            text = "[\n  " + ",\n  ".join(json.dumps(one, allow_nan=False) for one in value) + "\n ]"
            self._texts[key] = value, text
        return text

    def write_window(self, window: Window, distributions: dict[tuple[str, Site], Distribution]) -> None:
        """Writes one window, or replaces what was written of it: `distributions` by phase and site."""
        if not distributions:
            return
        table = window_table(window.index, distributions)
        table = table.replace_schema_metadata({b"icshift": json.dumps(entry_of(window)).encode()})
        _write_aside(self.window_file(window.index), lambda aside: _write_rows(table, aside))

    def window_file(self, index: int) -> Path:
        """Where this process writes the window of this number."""
        return self.path / "windows" / f"{index:06d}.rank{self._rank}.parquet"

    def delete_windows(self, first: int) -> None:
        """Deletes this process's windows from this number on, where there are any."""
        for file in sorted((self.path / "windows").glob(f"[0-9]*.rank{self._rank}.parquet")):
            if int(file.name.split(".")[0]) >= first:
                file.unlink(missing_ok=True)

    def append_steps(self, phase: str, site: Site, rows: StepRows) -> None:
        """Keeps the steps that are on the stride, for the next `flush` to write; `rows` may be overwritten then."""
        buffer = self._buffers.get((phase, site.name))
        if buffer is None:
            buffer = self._buffers[phase, site.name] = StepBuffer(phase, site)
        waiting = np.flatnonzero(rows.steps != NO_STEP)
        while len(waiting := waiting[rows.steps[waiting] % self.stride == 0]):
            room = buffer.capacity - buffer.filled
            buffer.append(rows, waiting[:room])
            waiting = waiting[room:]
            if buffer.filled == buffer.capacity:
                self._make_room(buffer)

    def _make_room(self, buffer: StepBuffer) -> None:
        if buffer.size + sum(one.size for one in self._buffers.values()) <= _BUFFERED_BYTES:
            buffer.grow()
        else:
            self.flush()

    def append_measured(self, kind: str, rows: list[dict[str, Any]]) -> None:
        """Keep rows of a series (`GRADIENT_SHIFT`, `SMOOTHNESS`, `LOGGED`) for the next `flush`; they stay all."""
        self._measured.setdefault(kind, []).extend(rows)

    def flush(self) -> None:
        """Writes what waits: buffered steps as one segment, rows of other series as one each.

        Where all segments of steps together outgrow `STEP_ROWS`, every second step is deleted from them.
        """
        for kind, rows in self._measured.items():
            self._write_measured(kind, pa.Table.from_pylist(rows))
        self._measured.clear()
        waiting = [buffer for buffer in self._buffers.values() if buffer.filled]
        if not waiting:
            return
        path = self.path / "steps" / f"{self._written:06d}.rank{self._rank}.parquet"
        self._written += 1
        self._write_segment(path, step_table(waiting))
        last = max(int(buffer.steps[: buffer.filled].max()) for buffer in waiting)
        for buffer in waiting:
            buffer.filled = 0
        while sum(self._segments.values()) > STEP_ROWS and self.stride <= last:
            self.stride *= 2
            for segment in list(self._segments):
                self._thin(segment)

    def finish(self, changes: dict[str, Any]) -> None:
        """Flushes, and marks the run as finished; `changes` are of the manifest."""
        self.flush()
        self.update({**changes, "finished": True})

    def _write_measured(self, kind: str, table: pa.Table) -> None:
        (self.path / kind).mkdir(exist_ok=True)
        path = self.path / kind / f"{self._written:06d}.rank{self._rank}.parquet"
        self._written += 1
        _write_aside(path, lambda aside: pq.write_table(table, aside, compression="lz4"))

    def _thin(self, segment: Path) -> None:
        with pq.ParquetFile(segment) as file:
            table = file.read()
        kept = table["step"].to_numpy() % self.stride == 0
        if kept.any():
            self._write_segment(segment, table.filter(flags(kept)))
        else:
            segment.unlink()
            del self._segments[segment]

    def _write_segment(self, path: Path, table: pa.Table) -> None:
        self._segments[path] = table.num_rows
        _write_aside(path, lambda aside: _write_rows(table, aside))


def refuse_occupied(path: Path, *, force: bool, rank: int = 0, ranks: int = 1) -> None:
    """Raise `RunError` where this rank must not write.

    A run alone takes a path where nothing is. Of several ranks, rank 0 takes also a directory that holds nothing but
    what the other ranks may have made just now, the others any that has no files of theirs. With `force` rank 0 takes
    also a directory that holds a run, and the others any.
    """
    if not 0 <= rank < ranks:
        raise RunError(f"rank {rank} of {ranks}: ranks count from 0, so it must be at least 0 and less than {ranks}")
    if not path.exists():
        return
    writers = [writer for _, writer in _contents(path)] if path.is_dir() else [None]
    if rank:
        refused = rank in writers or not path.is_dir()
        replaceable = path.is_dir()
    else:
        refused = ranks == 1 or any(writer is None or not 0 < writer < ranks for writer in writers)
        replaceable = is_run(path) if (path / MANIFEST).exists() else None not in writers
    if refused and not force:
        raise RunError(f"{path} exists and is kept: choose another path, or force to replace the run")
    if force and not replaceable:
        raise RunError(f"{path} exists and is no icshift run: even with force it is not replaced; choose another path")


def _manifest_name(rank: int) -> str:
    return f"run.rank{rank}.json" if rank else MANIFEST


def _contents(path: Path) -> list[tuple[Path, int | None]]:
    """Returns what lies in a directory and its folders, manifests first, each with the rank that made it.

    None instead of a rank stands for a file that no icshift makes.
    """
    contents = []
    for folder, pattern in ((path, MANIFEST_NAME), *((path / name, PART_NAME) for name in _FOLDERS)):
        for file in folder.iterdir() if folder.is_dir() else ():
            if folder != path or file.name not in _FOLDERS or not file.is_dir():
                aside = _ASIDE.fullmatch(file.name)
                contents.append((file, rank_in(aside[1] if aside else file.name, pattern)))
    return contents


def _delete(path: Path, rank: int, ranks: int) -> None:
    """Delete the files of this rank; rank 0 deletes also those of ranks that an older, larger run had."""
    for file, writer in _contents(path):
        if writer is not None and (writer == rank or (rank == 0 and writer >= ranks)):
            file.unlink(missing_ok=True)


def _write_aside(path: Path, write: Any) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")  # as _ASIDE
    write(aside)
    aside.replace(path)


def _write_rows(table: pa.Table, aside: Path) -> None:
    # A dictionary of numbers that are all different takes five times as long and a fifth more room. Signs and exponents
    # of neighbours are mostly alike: with the bytes of all numbers sorted by place, a third of a window goes.
    pq.write_table(
        table,
        aside,
        compression="lz4",
        use_dictionary=["phase", "site"],
        write_statistics=False,
        use_byte_stream_split=_floats(table.schema),
    )


def _floats(schema: pa.Schema) -> list[str]:
    """Returns the paths of the columns that hold floats, or lists of them."""
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    plain = [field.name for field in schema if pa.types.is_floating(field.type)]
    return plain + [
        f"{name}.list.element" for name in lists if pa.types.is_floating(schema.field(name).type.value_type)
    ]
