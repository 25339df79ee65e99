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
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from icshift.distribution import Distribution
from icshift.errors import RecordingError, RunError
from icshift.runs import sealed
from icshift.runs.arrow_arrays import flags
from icshift.runs.durable import names_to_disk, write_aside
from icshift.runs.format import FORMAT, NO_STEP, PHASES, RUN_ID, Site, StepRows, Window, entry_of, number_in
from icshift.runs.inventory import FILES
from icshift.runs.manifest import with_checksum
from icshift.runs.owner import (
    FOLDERS,
    contents,
    delete,
    id_at,
    manifest_name,
    occupied_error,
    refuse_occupied,
    this_writer,
)
from icshift.runs.resuming import STATE, Past, resumption
from icshift.runs.step_buffer import StepBuffer, step_table
from icshift.runs.window_file import damage
from icshift.runs.window_table import row_groups, window_table

STEP_ROWS = 1_000_000
"""Rows (one a step, site and unit) after which only every second step is kept: about 37 MB of Parquet."""

_BUFFERED_BYTES = 1 << 25
"""Memory for step rows of all sites and phases that wait for the next flush."""


class Recording:
    """A run directory that one process writes to: number `rank` of the `ranks` that do.

    Windows are written when `write_window` returns; steps and other series wait for `flush`. All of it outlasts a loss
    of power from the next `update` on.
    """

    _written: int

    def __init__(
        self, path: Path, manifest: dict[str, Any], *, force: bool = False, rank: int = 0, ranks: int = 1
    ) -> None:
        """Create what the other ranks did not.

        Raises `RunError` where `refuse_occupied` does, or another process was faster, and `RecordingError` where
        nothing can be written.
        """
        refuse_occupied(path, force=force, rank=rank, ranks=ranks)
        with _one_line(path):
            if force:
                delete(path, rank, ranks)
            elif ranks == 1:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            self._begin(path, manifest, rank, ranks)
            self._write_manifest(new=True)

    @classmethod
    def reopened(cls, path: Path, manifest: dict[str, Any], *, rank: int = 0, ranks: int = 1) -> Recording:
        """Returns a recording that goes on with a run of windows without step series: what is there stays.

        The caller has to make sure that these windows belong to this manifest, and that as many processes go on as
        began.
        """
        recording = cls.__new__(cls)
        with _one_line(path):
            own = path / manifest_name(rank)
            known = id_at(own) if own.exists() else None
            recording._begin(path, {**manifest, **({"id": known} if known else {})}, rank, ranks)
            recording._write_manifest()
        return recording

    @classmethod
    def resumed(cls, past: Past, manifest: dict[str, Any], steps: int, *, rank: int = 0, ranks: int = 1) -> Recording:
        """Returns a recording that goes on with a run after so many steps: what came after them is deleted.

        Windows stay that ended by then, provisional ones as windows of their own.
        """
        recording = cls.__new__(cls)
        with _one_line(past.path):
            recording._begin(past.path, {**manifest, **resumption(past, steps)}, rank, ranks)
            recording.stride = past.manifest["step_stride"]
            recording._cut(past.until(steps), steps)
            recording._write_manifest()
        return recording

    def _cut(self, kept: Past, steps: int) -> None:
        """Delete all that is of later steps, and what a killed process has left half written."""
        for file, writer in contents(self.path):
            if writer == self._rank and file.name.startswith("."):
                file.unlink(missing_ok=True)
        windows = {self.window_file(window.index): window for window in kept.windows}
        for file in sorted(self._files):
            if file.parent.name != "windows":
                self._written = max(self._written, 1 + (number_in(file.name) or 0))
            if file in windows:
                self.states[windows[file].index] = dict(kept.states[windows[file].index])
                if windows[file].provisional:
                    window = replace(windows[file], provisional=False)
                    self._put(file, _read(file), self._about(window))
            elif file.parent.name == "windows":
                self._discard(file)
            else:
                self._keep_rows(file, lambda table: table["step"].to_numpy() < steps)
                if file in self._files and file.parent.name == "steps":
                    self._segments[file] = _read(file).num_rows

    def _keep_rows(self, file: Path, which: Callable[[pa.Table], Any]) -> None:
        """Delete the other rows of a file and, where none is left, the file."""
        table = _read(file)
        kept = which(table)
        if not kept.any():
            self._discard(file)
        elif not kept.all():
            self._put(file, table.filter(flags(kept)))

    def _discard(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        self._files.discard(file)
        self._segments.pop(file, None)

    def _begin(self, path: Path, manifest: dict[str, Any], rank: int, ranks: int) -> None:
        for folder in ("windows", "steps"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        names_to_disk(path.parent)
        self.path = path
        self.stride = 1
        self._rank = rank
        self._manifest = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "id": secrets.token_hex(16),
            "writer": this_writer(),
            "finished": False,
            "stopped": None,
            "interrupted": None,
            "gaps": [],
            "ranks": ranks,
            **manifest,
        }
        self._files = {file for folder in FOLDERS for file in (path / folder).glob(f"[0-9]*.rank{rank}.parquet")}
        """Those of this process that are there."""
        self.states: dict[int, dict[str, Any]] = {}
        """By the number of a window that ended, in which state the recording was then: what its file holds of that."""
        self._segments: dict[Path, int] = {}
        self._buffers: dict[tuple[str, str], StepBuffer] = {}
        self._measured: dict[str, list[dict[str, Any]]] = {}
        self._written = 0
        self._texts: dict[str, tuple[list[Any], str]] = {}
        self._stamp: tuple[int, int] | None = None
        self._touched: dict[Path, None] = {}
        """Folders that hold names which may not have reached the disk."""

    @property
    def full(self) -> bool:
        """Whether so many steps wait that they should be written."""
        return sum(one.size for one in self._buffers.values()) > _BUFFERED_BYTES

    def update(self, changes: dict[str, Any]) -> None:
        """Replaces some entries of the manifest, and writes it."""
        self._manifest |= changes
        self._refuse_foreign()
        self._write_manifest()

    def _write_manifest(self, *, new: bool = False) -> None:
        self._manifest |= {"step_stride": self.stride, FILES: self._counted()}
        entries = [f"{json.dumps(key)}: {self._text(key, value)}" for key, value in self._manifest.items()]
        text = with_checksum("{\n " + ",\n ".join(entries) + "\n}\n")
        written = write_aside(self._manifest_file, lambda aside: aside.write_text(text), new=new)
        self._stamp = written.st_ino, written.st_mtime_ns
        for folder in (*self._touched, self.path):
            names_to_disk(folder)
        self._touched.clear()

    def _counted(self) -> dict[str, int]:
        return dict(sorted(Counter(file.parent.name for file in self._files).items()))

    @property
    def _manifest_file(self) -> Path:
        return self.path / manifest_name(self._rank)

    def _refuse_foreign(self) -> None:
        """Raise `RunError` where the path was deleted, or taken by another recording."""
        try:
            found = self._manifest_file.stat()
            if (found.st_ino, found.st_mtime_ns) == self._stamp or id_at(self._manifest_file) == self._manifest["id"]:
                return
        except (FileNotFoundError, NotADirectoryError) as error:
            raise RunError(
                f"{self._manifest_file} is gone: the run was deleted or moved while it was recorded"
            ) from error
        raise RunError(f"another recording has taken {self.path}")

    def _put(self, path: Path, table: pa.Table, about: dict[bytes, bytes] | None = None) -> None:
        """Write a file of this run, which says so in its metadata."""
        self._refuse_foreign()
        own = {key: value for key, value in (table.schema.metadata or {}).items() if key == PHASES}
        table = table.replace_schema_metadata({RUN_ID: self._manifest["id"].encode(), **own, **(about or {})})
        write_aside(path, lambda aside: _write_rows(table, aside))
        self._touched[path.parent] = None
        self._files.add(path)

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
        self._put(self.window_file(window.index), window_table(window.index, distributions), self._about(window))

    def _about(self, window: Window) -> dict[bytes, bytes]:
        about = {b"icshift": json.dumps(entry_of(window)).encode()}
        if window.closed and window.index in self.states:
            about[STATE] = json.dumps(self.states[window.index]).encode()
        return about

    def window_file(self, index: int) -> Path:
        """Where this process writes the window of this number."""
        return self.path / "windows" / f"{index:06d}.rank{self._rank}.parquet"

    def delete_windows(self, first: int) -> None:
        """Deletes this process's windows from this number on, where there are any."""
        for file in sorted((self.path / "windows").glob(f"[0-9]*.rank{self._rank}.parquet")):
            if int(file.name.split(".")[0]) >= first:
                self._discard(file)

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
                buffer.grow()  # Nothing is written from here: this runs where a block of steps is half worked off.

    def append_measured(self, kind: str, rows: list[dict[str, Any]]) -> None:
        """Keep rows of a series (`GRADIENT_SHIFT`, `SMOOTHNESS`, `LOGGED`) for the next `flush`; they stay all."""
        self._measured.setdefault(kind, []).extend(rows)

    def flush(self) -> None:
        """Writes what waits: buffered steps as one segment, rows of other series as one each.

        Where all segments of steps together outgrow `STEP_ROWS`, every second step is deleted from them.
        """
        for kind in list(self._measured):
            self._write_measured(kind, pa.Table.from_pylist(self._measured[kind]))
            del self._measured[kind]
        waiting = [buffer for buffer in self._buffers.values() if buffer.filled]
        if not waiting:
            return
        path = self.path / "steps" / f"{self._written:06d}.rank{self._rank}.parquet"
        self._write_segment(path, step_table(waiting))
        self._written += 1
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
        self._put(path, table)
        self._written += 1

    def _thin(self, segment: Path) -> None:
        self._keep_rows(segment, lambda table: table["step"].to_numpy() % self.stride == 0)
        if segment in self._segments:
            self._segments[segment] = _read(segment).num_rows

    def _write_segment(self, path: Path, table: pa.Table) -> None:
        self._put(path, table)
        self._segments[path] = table.num_rows


def _read(file: Path) -> pa.Table:
    with damage(file), pq.ParquetFile(file) as opened:
        return opened.read()


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """A block that creates a run: what the system says against it is one line for the user."""
    try:
        yield
    except (OSError, ValueError) as error:  # A path with a zero in it is a `ValueError`.
        if isinstance(error, FileExistsError) and error.filename == str(path):
            raise occupied_error(path) from error  # Another process made it just now, or it is a link to nowhere.
        told = getattr(error, "strerror", None) or error
        raise RecordingError(f"{path} cannot be written ({told}): choose another path, or see to that") from error


def _write_rows(table: pa.Table, aside: Path) -> None:
    # A dictionary of numbers that are all different takes five times as long and a fifth more room. Signs and exponents
    # of neighbours are mostly alike: with the bytes of all numbers sorted by place, a third of a window goes.
    content = sealed.parquet(
        table,
        row_groups(table) if "values" in table.column_names else (),
        compression="lz4",
        use_dictionary=[name for name in ("phase", "site", "name", "layer") if name in table.column_names],
        write_statistics=False,
        use_byte_stream_split=_floats(table.schema),
    )
    aside.write_bytes(content)


def _floats(schema: pa.Schema) -> list[str]:
    """Returns the paths of the columns that hold floats, or lists of them."""
    lists = [field.name for field in schema if pa.types.is_list(field.type)]
    plain = [field.name for field in schema if pa.types.is_floating(field.type)]
    return plain + [
        f"{name}.list.element" for name in lists if pa.types.is_floating(schema.field(name).type.value_type)
    ]
