"""Windows that were merged once and for all: no number changes, whatever became of them."""

import signal
import subprocess
import sys
from dataclasses import asdict, fields

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from icshift.errors import RunError
from icshift.runs import sealed
from icshift.runs.format import MERGED, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.recorded import distribution, probe, site
from tests.zoo.distributions import draw

RANKS, WINDOWS = 3, 4


def recorded(path, *, kind="normal", last=True):
    """A run of several processes; without its last window where not `last`."""
    for rank in range(RANKS):
        recording = Recording(path, {"model": "Net", "sites": [asdict(site("a", 4))]}, rank=rank, ranks=RANKS)
        for index in range(1, WINDOWS + last):
            parts = {("train", site("a", 4)): distribution(draw(kind, 300 + 50 * rank, 4, 10 * index + rank))}
            if not rank:
                parts["probe", site("a", 4)] = probe(draw("relu", 40, 4, index))
            recording.write_window(Window(index, str(index), 8 * index - 8, 8 * index - 1, closed=True), parts)
        recording.finish({})
    return path


def assert_same(found, expected):
    assert found._load(1).keys() == expected._load(1).keys()
    for index in range(1, len(expected.window_list) + 1):
        for key, one in expected._load(index).items():
            other = found._load(index)[key]
            for field in fields(one):
                a, b = getattr(one, field.name), getattr(other, field.name)
                if field.name == "blocks" and a is not None:
                    a, b = a.__dict__.values(), b.__dict__.values()
                    for x, y in zip(a, b, strict=True):
                        np.testing.assert_array_equal(x, y)
                else:
                    assert a is b is None or np.array_equal(a, b, equal_nan=True), field.name


@pytest.mark.some(1)
@pytest.mark.parametrize("kind", ["normal", "with_nan", "one_unit_diverged"])
def test_merged_windows_hold_the_very_numbers(kind, tmp_path):
    path = recorded(tmp_path / "run", kind=kind)
    before = StoredRun(path)
    [before._load(index) for index in range(1, WINDOWS + 1)]
    assert [new for _, new in StoredRun(path).merge()] == [True] * WINDOWS
    assert [new for _, new in StoredRun(path).merge()] == [False] * WINDOWS
    assert_same(StoredRun(path), before)


def test_merged_windows_are_read_in_place_of_the_others(tmp_path, monkeypatch):
    path = recorded(tmp_path / "run")
    list(StoredRun(path).merge())
    monkeypatch.setattr("icshift.runs.reader.read_distributions", None)
    run = StoredRun(path)
    assert run.distribution("train", "a", 2).sampled.tolist() == [1050] * 4
    assert not run._loaded  # Of a merged window, too, what is asked for is read.


def test_a_merged_window_that_is_gone_is_no_window_of_one_process(tmp_path):
    path = recorded(tmp_path / "run")
    list(StoredRun(path).merge())
    run = StoredRun(path)
    one = run.distribution("train", "a", 2)
    run._shelf._open.pop(path / MERGED / "000002.rank0.parquet")  # What is open could be read to its end.
    (path / MERGED / "000002.rank0.parquet").unlink()
    with pytest.raises(RunError, match="try again"):
        one.sampled  # noqa: B018
    assert StoredRun(path).distribution("train", "a", 2).sampled.tolist() == [1050] * 4


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "fault", ["cut short", "a bit of its footer", "of another run", "out of date", "a folder", "one is missing"]
)
def test_what_is_not_of_these_files_is_not_read(fault, tmp_path):
    path = recorded(tmp_path / "run")
    list(StoredRun(path).merge())
    file = path / MERGED / "000002.rank0.parquet"
    if fault == "cut short":
        file.write_bytes(file.read_bytes()[:-100])
    elif fault == "a bit of its footer":
        content = bytearray(file.read_bytes())
        content[-40] ^= 1
        file.write_bytes(content)
    elif fault == "of another run":
        other = recorded(tmp_path / "other", kind="relu")
        list(StoredRun(other).merge())
        file.write_bytes((other / MERGED / file.name).read_bytes())
    elif fault == "out of date":
        newer = path / "windows" / "000002.rank1.parquet"
        table = pq.read_table(newer, partitioning=None)
        place = table.column_names.index("nonfinite")
        newer.write_bytes(sealed.parquet(table.set_column(place, "nonfinite", pc.add(table["nonfinite"], 1))))
    elif fault == "a folder":
        file.unlink()
        file.mkdir()
    else:
        (path / "windows" / "000002.rank2.parquet").unlink()
    found = StoredRun(path)
    (path / MERGED).rename(tmp_path / "aside")
    expected = StoredRun(path)
    [expected._load(index) for index in range(1, WINDOWS + 1)]
    (tmp_path / "aside").rename(path / MERGED)
    assert_same(found, expected)


def test_a_killed_merge_changes_no_number(tmp_path):
    path = recorded(tmp_path / "run")
    expected = StoredRun(path)
    [expected._load(index) for index in range(1, WINDOWS + 1)]
    merge = f"""
import os, signal
from pathlib import Path
from icshift.runs.reader import StoredRun
replace = Path.replace
def killed(aside, to):
    if "000003" in str(to):
        os.truncate(aside, 500)
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(aside, to)
Path.replace = killed
list(StoredRun({str(path)!r}).merge())
"""
    done = subprocess.run([sys.executable, "-c", merge], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((path / MERGED).glob("[0-9]*"))) == 2
    assert_same(StoredRun(path), expected)
    assert [new for _, new in StoredRun(path).merge()] == [False, False, True, True]
    assert_same(StoredRun(path), expected)


def test_where_nothing_can_be_written(tmp_path):
    path = recorded(tmp_path / "run")
    (path / MERGED).write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        list(StoredRun(path).merge())
    assert StoredRun(path).distribution("train", "a", 1) is not None


def test_of_one_process_nothing_is_merged(two_windows):
    assert not list(StoredRun(two_windows).merge())
