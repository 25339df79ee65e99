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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from icshift.distribution import Distribution
from icshift.errors import RecordingError, RunError
from icshift.runs import segments
from icshift.runs.behind import Behind, at_once, in_thread
from icshift.runs.durable import names_to_disk, write_aside
from icshift.runs.format import FORMAT, LOGGED, NO_STEP, STEPS, WINDOW, WINDOWS, Site, StepRows, Window, entry_of
from icshift.runs.inventory import FILES
from icshift.runs.manifest import with_checksum
from icshift.runs.own_files import OwnFiles
from icshift.runs.owner import delete, id_at, manifest_name, occupied_error, refuse_occupied, this_writer
from icshift.runs.parts import Part, Place, name_of
from icshift.runs.resuming import STATE, Past, resumption
from icshift.runs.series import schema_of
from icshift.runs.step_buffer import StepBuffer, step_table
from icshift.runs.window_table import window_table

STEP_ROWS = 1_000_000
"""Rows (one a step, site and unit) after which only every second step is kept: about 37 MB of Parquet."""

_BUFFERED_BYTES = 1 << 25
"""Memory for step rows of all sites and phases that wait: a third for the next flush, as much for those that are being
written, and as much that may be left from growing."""


class Recording:
    """A run directory that one process writes to: number `rank` of the `ranks` that do.

    Windows are written when `write_window` returns; steps and other series wait for `flush`. All of it outlasts a loss
    of power from the next `update` on. After `write_behind` this is so from `settle` on, which raises what went wrong
    meanwhile; nothing is lost by it.
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
            self._write_manifest(self._manifest, new=True)

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
            recording._own.take_over()
            recording._write_manifest(recording._manifest)
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
            recording._write_manifest(recording._manifest)
        return recording

    def _cut(self, kept: Past, steps: int) -> None:
        """Delete all that is of later steps, and what a killed process has left half written.

        Steps of a window that was cut go with it: they are missing, and told so. What the training logged stays.
        """
        windows = {window.index: window for window in kept.windows}
        self.states |= {index: dict(kept.states[index]) for index in windows}
        for part in reversed(self._own.take_over()):
            if part.path.parent.name == WINDOWS:
                self._cut_windows(
                    part, [window for index, window in windows.items() if part.first <= index <= part.last]
                )
            else:
                self._written = max(self._written, 1 + part.last)
                end = steps if part.path.parent.name == LOGGED else kept.covered
                self._own.keep_rows(part.path, partial(_before, end))

    def _cut_windows(self, part: Part, kept: list[Window]) -> None:
        if not kept:
            self._own.discard(part.path)
        elif len(kept) < self._own.held(part.path):
            self._own.keep_windows(part, part.first, kept[-1].index)
            self._own.discard(part.path)
        elif kept[0].provisional:
            self._own.about_anew(part.path, self._about(replace(kept[0], provisional=False)))

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
        self._own = OwnFiles(path, rank, self._manifest["id"], self._refuse_foreign, told_apart=ranks > 1)
        self.states: dict[int, dict[str, Any]] = {}
        """By the number of a window that ended, in which state the recording was then: what its file holds of that."""
        self._buffers: dict[tuple[str, str], StepBuffer] = {}
        self._measured: dict[str, list[dict[str, Any]]] = {}
        self._written = 0
        self._behind = Behind(at_once)
        self._texts: dict[str, tuple[list[Any], str]] = {}
        self._stamp: tuple[int, int] | None = None

    @property
    def full(self) -> bool:
        """Whether so many steps wait that they should be written."""
        return 3 * sum(one.waiting for one in self._buffers.values()) > _BUFFERED_BYTES

    def write_behind(self) -> None:
        """From now on writing goes on while its caller does (see `behind.py`)."""
        self.settle()
        self._behind = Behind(in_thread)

    def settle(self) -> None:
        """Waits until all is written that was to be. Raises what is in the way of it."""
        self._behind.settle()

    def seconds_behind(self) -> float:
        """Returns the processor time that writing took beside the training since this was asked last."""
        return self._behind.seconds()

    def update(self, changes: dict[str, Any]) -> None:
        """Replaces some entries of the manifest, writes it, and puts files together where there are many of them."""
        self._manifest |= changes
        self._behind.give(partial(self._update, dict(self._manifest)))

    def tell(self, changes: dict[str, Any]) -> None:
        """Replaces some entries of the manifest and writes it at once, before what could not be written.

        Entries from before that JSON does not hold are as they were written last: they must not keep the news out.
        """
        self._behind.pause()
        self._manifest |= changes
        self._refuse_foreign()
        try:
            self._write_manifest(self._manifest)
        except (TypeError, ValueError):
            self._manifest = self._stored | changes
            self._write_manifest(self._manifest)

    def _update(self, manifest: dict[str, Any]) -> None:
        self._refuse_foreign()
        self._write_manifest(manifest)
        self._own.put_together()

    def _write_manifest(self, manifest: dict[str, Any], *, new: bool = False) -> None:
        whole = manifest | {"step_stride": self.stride, FILES: self._own.counted()}
        entries = [f"{json.dumps(key)}: {self._text(key, value)}" for key, value in whole.items()]
        text = with_checksum("{\n " + ",\n ".join(entries) + "\n}\n")
        written = write_aside(self._manifest_file, lambda aside: aside.write_text(text), new=new)
        self._stored = dict(manifest)
        self._stamp = written.st_ino, written.st_mtime_ns
        for folder in (*self._own.touched, self.path):
            names_to_disk(folder)
        self._own.touched.clear()

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
        if distributions:
            self._behind.give(partial(self._write_window, window, distributions, self._about(window)))

    def _write_window(
        self, window: Window, distributions: dict[tuple[str, Site], Distribution], about: dict[bytes, bytes]
    ) -> None:
        file = self._own.window(window.index)
        self._own.put(file, window_table(window.index, distributions), about)
        if window.closed and not window.provisional:
            self._own.settle(file)

    def write_windows(self, window: Window, distributions: dict[tuple[str, Site], Distribution], last: int) -> None:
        """Writes one window in place of all from its number to the `last`, at once; it is written when this returns."""
        self.settle()
        self.states[window.index] = self.states.get(last, {})
        table = window_table(window.index, distributions)
        about = self._about(window)
        if last > window.index:
            phases = list(dict.fromkeys(phase for phase, _ in distributions))
            entry = {**entry_of(window), "rows": table.num_rows, "phases": phases}
            about |= {WINDOW: json.dumps([entry]).encode(), STATE: b"[%s]" % about.get(STATE, b"{}")}
        self._own.put_over(window.index, last, table, about)

    def _about(self, window: Window) -> dict[bytes, bytes]:
        about = {WINDOW: json.dumps(entry_of(window)).encode()}
        if window.closed and window.index in self.states:
            about[STATE] = json.dumps(self.states[window.index]).encode()
        return about

    def window_file(self, index: int) -> Path:
        """Where this process has written the window of this number."""
        self.settle()
        return self._own.window(index)

    def places(self) -> dict[int, Place]:
        """Returns where each window of this process is, by its number."""
        self.settle()
        return self._own.places()

    def delete_windows(self, first: int) -> None:
        """Deletes this process's windows from this number on, where there are any."""
        self._behind.give(partial(self._own.discard_windows, first))

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

        Where all steps together would outgrow `STEP_ROWS`, every second one is left out, of those that are written too.
        """
        waiting = [buffer.taken() for buffer in self._buffers.values() if buffer.filled]
        measured, self._measured = self._measured, {}
        if waiting or measured:
            self._behind.give(partial(self._write_series, measured, waiting))

    def _write_series(self, measured: dict[str, list[dict[str, Any]]], waiting: list[StepBuffer]) -> None:
        """Writes rows of series, and what waits in buffers; neither has any afterwards."""
        for kind in list(measured):
            self._write_segment(kind, pa.Table.from_pylist(measured[kind], schema=schema_of(kind)))
            del measured[kind]
        self._thin(waiting)
        filled = [buffer for buffer in waiting if buffer.filled]
        if filled:
            self._write_segment(STEPS, step_table(filled))
        waiting.clear()

    def _thin(self, waiting: Sequence[StepBuffer]) -> None:
        """Leaves out every second step until all of them are few enough, or one is left: before any is written in
        vain."""
        last = max((int(one.steps[: one.filled].max()) for one in waiting if one.filled), default=0)
        while True:
            for buffer in waiting:  # Some came before the stride was what it is.
                buffer.keep(buffer.steps[: buffer.filled] % self.stride == 0)
            if self._step_rows(waiting) <= STEP_ROWS or self.stride > last:
                return
            self.stride *= 2
            for segment in self._own.segments(STEPS):
                self._own.keep_rows(segment, lambda rows: rows["step"].to_numpy() % self.stride == 0)

    def _step_rows(self, waiting: Sequence[StepBuffer]) -> int:
        """How many rows of steps are written, or wait."""
        return sum(one.filled * len(one.units) for one in waiting) + sum(self._own.segments(STEPS).values())

    def finish(self, changes: dict[str, Any]) -> None:
        """Flushes, and marks the run as finished; `changes` are of the manifest."""
        self.flush()
        self.settle()
        self._own.end()
        self.tell({**changes, "finished": True})

    def _write_segment(self, folder: str, table: pa.Table) -> None:
        (self.path / folder).mkdir(exist_ok=True)
        path = self.path / folder / name_of(self._written, self._written, self._rank)
        self._own.put(path, table, segments.about(folder, self._written, self._written))
        self._own.settle(path)
        self._written += 1


def _before(end: int, rows: pa.Table) -> Any:
    """Returns which rows are of steps before this one."""
    return rows["step"].to_numpy() < end


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
