"""What a process has written is taken over by the next one, cut, split and replaced; no other window is lost."""

import numpy as np
import pytest

from icshift.runs import compaction
from icshift.runs.format import Window
from icshift.runs.parts import parts_in
from icshift.runs.reader import StoredRun
from icshift.runs.resuming import past_of
from icshift.runs.verify import verify
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import of_zoo, site
from tests.runs.test_compaction import begin, write

STATE = {"model": "Net", "settings": {}, "ledger": []}


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A run of 14 windows, that is not finished: 1 to 9 are in one file, or in three."""
    monkeypatch.setattr(compaction, "FAN", 3)
    recording = begin(tmp_path / "run")
    write(recording, 1, 14)
    return tmp_path / "run"


def numbers(path):
    return [window.index for window in StoredRun(path).window_list]


def names(path):
    return [part.path.name for part in parts_in(path / "windows", 1)]


def resumed(path, steps):
    return Recording.resumed(past_of(path, 0), {"sites": [vars(site("a"))], **STATE}, steps)


@pytest.mark.parametrize("windows", [0, 1, 5, 9, 13])
def test_a_resumed_run_has_the_windows_up_to_there_and_goes_on(path, windows):
    recording = resumed(path, windows + 1)  # Window k is of step k alone.
    assert numbers(path) == list(range(1, windows + 1))
    assert past_of(path, 0).states == {index: {"parameters": str(index)} for index in range(1, windows + 1)}
    write(recording, windows + 1, 20)
    recording.finish({})
    assert verify(path).problems == ()
    for index in range(1, 21):
        laws.assert_identical(StoredRun(path).distribution("train", "a", index), of_zoo("normal", 20, seed=index))
    assert StoredRun(path).logged()["value"].tolist() == [1 / index for index in range(1, 21)]


def test_what_a_killed_process_left_over_is_deleted(path):
    for name in ("000002.rank0.parquet", ".000001-000004.rank0.parquet.77", "000004-000006.rank0.parquet"):
        (path / "windows" / name).write_bytes(b"left over")
    other = path / "windows" / ".000001.rank1.parquet.77"
    other.write_bytes(b"of another process")
    resumed(path, 15)
    assert sorted(file.name for file in (path / "windows").iterdir()) == sorted([other.name, *names(path)])
    assert numbers(path) == list(range(1, 15))


def test_a_window_that_was_lost_is_recorded_anew(path):
    """As `icshift analyze` does with a file that was deleted, since it was damaged."""
    recording = resumed(path, 15)
    window = Window(5, "epoch 5", 5, 5, closed=True)
    recording.write_window(window, {("train", site("a")): of_zoo("relu", 20)})
    assert numbers(path) == list(range(1, 15))
    laws.assert_identical(StoredRun(path).distribution("train", "a", 5), of_zoo("relu", 20))
    laws.assert_identical(StoredRun(path).distribution("train", "a", 6), of_zoo("normal", 20, seed=6))
    write(recording, 15, 20)
    recording.finish({})
    assert verify(path).problems == ()


@pytest.mark.parametrize(("first", "last"), [(1, 14), (1, 15), (4, 14), (12, 14), (5, 14), (14, 14)])
def test_one_window_in_place_of_many(path, first, last):
    recording = resumed(path, 15)
    whole = Window(first, "undone", first, last, closed=True)
    recording.write_windows(whole, {("train", site("a")): of_zoo("relu", 20)}, last)
    assert numbers(path) == list(range(1, first + 1))
    assert StoredRun(path).window("undone") == whole
    assert past_of(path, 0).states[first] == ({"parameters": str(last)} if last < 15 else {})
    write(recording, last + 1, last + 8)
    recording.finish({})
    assert numbers(path) == [*range(1, first + 1), *range(last + 1, last + 9)]
    laws.assert_identical(StoredRun(path).distribution("train", "a", first), of_zoo("relu", 20))
    assert [told for told in verify(path).problems if "missing" not in told] == []


def test_where_every_window_is(path):
    recording = resumed(path, 15)
    places = recording.places()
    assert list(places) == list(range(1, 15))
    assert {place.file.name for place in places.values()} == set(names(path))
    starts = [(place.file.name, place.start) for place in places.values()]
    assert len(set(starts)) == len(np.unique([name for name, _ in starts])) + sum(start > 0 for _, start in starts)
