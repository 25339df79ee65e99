"""Files are put together where there are many, a little at a time, and whatever goes wrong changes nothing."""

import errno
import os
from dataclasses import asdict

import numpy as np
import pytest

from icshift.errors import RunError
from icshift.runs import compaction, stream
from icshift.runs.compaction import due, level
from icshift.runs.format import Window
from icshift.runs.parts import parts_in
from icshift.runs.reader import StoredRun
from icshift.runs.verify import verify
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import of_zoo, site

LOGGED, FAN, SMALL = "logged", 4, 1 << 15


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Few files are many."""
    monkeypatch.setattr(compaction, "FAN", FAN)
    monkeypatch.setattr(compaction, "SMALL", SMALL)


def begin(path, **options):
    return Recording(path, {"sites": [asdict(site("a"))]}, **options)


def write(recording, first, last):
    """Windows and what was logged in them, written as a recorder does."""
    for index in range(first, last + 1):
        recording.states[index] = {"parameters": str(index)}
        recording.append_measured(LOGGED, [{"step": index, "window": index, "name": "loss", "value": 1 / index}])
        recording.flush()
        window = Window(index, f"epoch {index}", index, index, closed=True)
        recording.write_window(window, {("train", site("a")): of_zoo("normal", 20, seed=index)})
        recording.update({})


def assert_whole(path, windows):
    run = StoredRun(path)
    assert [window.name for window in run.window_list] == [f"epoch {index}" for index in range(1, windows + 1)]
    for index in range(1, windows + 1):
        laws.assert_identical(run.distribution("train", "a", index), of_zoo("normal", 20, seed=index))
    assert run.logged()["value"].tolist() == [1 / index for index in range(1, windows + 1)]
    assert run.missing == ()
    assert verify(path).problems == ()


def names(path, folder="windows"):
    return sorted(file.name for file in (path / folder).iterdir())


def test_levels_grow_by_the_same_factor():
    sizes = [SMALL * FAN**power for power in range(5)]
    assert [level(size) for size in sizes] == [1, 2, 3, 4, 5]
    assert [level(size - 1) for size in sizes] == [0, 1, 2, 3, 4]


def test_a_run_of_any_length_has_few_files_and_each_byte_is_written_few_times(monkeypatch):
    """The rule alone, on sizes: of a run of 20,000 windows of a megabyte, 20 GB."""
    monkeypatch.undo()
    sizes, levels, written = [], [], 0
    for _ in range(20_000):
        sizes.append(1_000_000)
        levels.append(0)
        while (found := due(levels)) is not None:
            whole = sum(sizes[found.start : found.stop])
            sizes[found.start : found.stop], levels[found.start : found.stop] = [whole], [level(whole)]
            written += whole
    assert len(sizes) <= 100
    assert max(sizes) < 1 << 32
    assert written / sum(sizes) < 4


def test_windows_and_segments_are_put_together_and_read_as_they_were(tmp_path):
    recording = begin(tmp_path / "run")
    write(recording, 1, 5 * FAN)
    assert len(names(tmp_path / "run")) <= 2 * FAN
    assert len(names(tmp_path / "run", LOGGED)) <= 2 * FAN
    assert_whole(tmp_path / "run", 5 * FAN)
    recording.finish({})
    assert_whole(tmp_path / "run", 5 * FAN)


def test_an_open_window_stays_alone(tmp_path):
    recording = begin(tmp_path / "run")
    write(recording, 1, FAN - 1)
    for _ in range(3):
        window = Window(FAN, f"epoch {FAN}", FAN, FAN, closed=False)
        recording.write_window(window, {("train", site("a")): of_zoo("normal", 20, seed=FAN)})
        recording.update({})
    assert len(names(tmp_path / "run")) == FAN
    assert not StoredRun(tmp_path / "run").window_list[-1].closed


@pytest.mark.parametrize("call", range(12))
def test_a_fault_at_any_moment_loses_nothing_and_is_tried_again(tmp_path, monkeypatch, call):
    """Whichever call to the disk fails: writing, reaching the disk, taking the name, deleting."""
    recording = begin(tmp_path / "run")
    write(recording, 1, FAN - 1)
    calls, fault = [], (errno.ENOSPC, errno.EIO, MemoryError)[call % 3]

    def failing(original):
        def one(*arguments, **options):
            calls.append(original)
            if len(calls) == call + 1:
                raise fault() if isinstance(fault, type) else OSError(fault, os.strerror(fault))
            return original(*arguments, **options)

        return one

    with monkeypatch.context() as patched:
        patched.setattr(compaction, "names_to_disk", failing(compaction.names_to_disk))
        patched.setattr(compaction.Path, "unlink", failing(compaction.Path.unlink))
        patched.setattr(compaction.Path, "replace", failing(compaction.Path.replace)) if call > 9 else None
        patched.setattr(stream._Sink, "write", failing(stream._Sink.write))
        patched.setattr(stream._Sink, "to_disk", failing(stream._Sink.to_disk))
        recording.append_measured(LOGGED, [{"step": FAN, "window": FAN, "name": "loss", "value": 1 / FAN}])
        window = Window(FAN, f"epoch {FAN}", FAN, FAN, closed=True)
        recording.states[FAN] = {}
        recording.flush()
        recording.write_window(window, {("train", site("a")): of_zoo("normal", 20, seed=FAN)})
        recording._own.put_together()
    assert len(calls) > call
    recording.update({})
    assert_whole(tmp_path / "run", FAN)
    assert not [name for name in names(tmp_path / "run") if name.startswith(".")]
    write(recording, FAN + 1, 5 * FAN + 2)
    recording.finish({})
    assert_whole(tmp_path / "run", 5 * FAN + 2)
    assert len(names(tmp_path / "run")) <= 3 * FAN


def test_a_damaged_file_is_left_for_whoever_reads_and_the_rest_goes_on(tmp_path):
    recording = begin(tmp_path / "run")
    write(recording, 1, FAN - 1)
    known = recording._own._compactions["windows"]._known
    known[1] = compaction._Known(known[1].part, known[1].size)  # It is read, not taken from memory.
    damaged = known[1].part.path
    damaged.write_bytes(damaged.read_bytes()[:-100] + bytes(100))
    write(recording, FAN, 5 * FAN)
    recording.finish({})
    assert damaged.exists()
    assert damaged.name in verify(tmp_path / "run").problems[0]
    assert len(names(tmp_path / "run")) <= 2 * FAN


def test_files_that_hold_other_types_are_not_put_together(tmp_path):
    recording = begin(tmp_path / "run")
    for index in range(1, 2 * FAN):
        dtype = np.float32 if index < FAN - 1 else np.float64
        distribution = of_zoo("normal", 20, seed=index, dtype=dtype)
        recording.write_window(Window(index, "w", index, index, closed=True), {("train", site("a")): distribution})
        recording.update({})
    recording.finish({})
    run = StoredRun(tmp_path / "run")
    for index in range(1, 2 * FAN):
        dtype = np.float32 if index < FAN - 1 else np.float64
        laws.assert_identical(run.distribution("train", "a", index), of_zoo("normal", 20, seed=index, dtype=dtype))
    assert len(parts_in(tmp_path / "run" / "windows", 1)) < 2 * FAN - 1


def test_a_path_that_is_lost_is_left_alone(tmp_path):
    recording = begin(tmp_path / "run")
    write(recording, 1, FAN - 1)
    other = begin(tmp_path / "other")
    write(other, 1, 1)
    window = Window(FAN, "w", FAN, FAN, closed=True)
    recording.write_window(window, {("train", site("a")): of_zoo("normal", 20)})
    (tmp_path / "run").rename(tmp_path / "away")
    (tmp_path / "other").rename(tmp_path / "run")
    before = names(tmp_path / "run"), [name for name in names(tmp_path / "away") if name[0] != "."]
    with pytest.raises(RunError, match="another recording"):
        recording._own.put_together()
    assert (names(tmp_path / "run"), [name for name in names(tmp_path / "away") if name[0] != "."]) == before
