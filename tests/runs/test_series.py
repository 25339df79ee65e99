"""Segments of a series come back with their ranks, and what is none of a run is refused in one line."""

import shutil

import pandas as pd
import pyarrow as pa
import pytest

from icshift.errors import RunError
from icshift.runs import series
from icshift.runs.format import GRADIENT_SHIFT, STEPS, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.recorded import change_table


@pytest.fixture
def folder(two_windows, tmp_path):
    return shutil.copytree(two_windows / "steps", tmp_path / "steps")


def test_segments_come_with_their_ranks(folder):
    (own, *_) = sorted(folder.iterdir())
    shutil.copy(own, folder / "000000.rank1.parquet")
    frames = series.read(folder, STEPS, [None, None])
    assert [rank for rank, _ in frames] == [0] * (len(list(folder.iterdir())) - 1) + [1]
    table = series.table(frames, STEPS, ranked=True)
    assert set(table["rank"]) == {0, 1}
    assert list(table.columns) == [*series.COLUMNS[STEPS], "rank"]
    assert len(series.read(folder, STEPS, [None])) == len(frames) - 1


@pytest.mark.parametrize("kind", series.COLUMNS)
def test_a_series_without_segments_has_its_columns(tmp_path, kind):
    table = series.table(series.read(tmp_path, kind, [None]), kind, ranked=False)
    assert list(table.columns) == list(series.COLUMNS[kind])
    assert table.empty


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("count", -5, "count is -5"),
        ("step", -1, "a step is negative"),
        ("std", -1.0, "std is -1.0"),
        ("zero_share", 1.5, "zero_share is not between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(folder, column, value, told):
    (file, *_) = sorted(folder.iterdir())

    def change(table):
        place = table.column_names.index(column)
        return table.set_column(place, column, pa.array([value] * len(table), table[column].type))

    change_table(file, change)
    with pytest.raises(RunError, match=told) as caught:
        series.read(folder, STEPS, [None])
    assert str(caught.value).startswith(f"{file} cannot be read")


def test_a_length_below_zero_is_refused(tmp_path):
    recording = Recording(tmp_path / "run", {"sites": []})
    row = {"step": 0, "layer": "fc1", "parameters": 4, "l2": 1.0, "cosine": 0.5, "norm": -1.0, "norm_after": 1.0}
    recording.append_measured(GRADIENT_SHIFT, [row])
    recording.flush()
    with pytest.raises(RunError, match="a norm is negative"):
        series.read(tmp_path / "run" / GRADIENT_SHIFT, GRADIENT_SHIFT, [None])


def test_segments_of_another_recording_are_refused(folder):
    with pytest.raises(RunError, match="another recording wrote it than the manifest"):
        series.read(folder, STEPS, ["0" * 32])


def test_rows_of_sites_that_no_manifest_names_are_left_out(two_windows, tmp_path):
    run = shutil.copytree(two_windows, tmp_path / "run")
    (file, *_) = sorted((run / "steps").iterdir())

    def change(table):
        names = table["site"].to_pylist()
        return table.set_column(1, "site", pa.array(["nowhere" if name == "fc1" else name for name in names]))

    change_table(file, change)
    before, after = StoredRun(two_windows).steps(), StoredRun(run).steps()
    assert 0 < len(after) < len(before)
    assert after["site"].notna().all()


def test_a_row_is_in_the_window_of_its_step_where_none_is_written():
    windows = [Window(1, "1", 0, 4, closed=True), Window(2, "2", 5, 9, closed=True)]
    rows = pd.DataFrame({"step": [0, 5, 9, 3], "window": [None, None, 2, 7]})
    assert series.windows_of(rows, windows).tolist() == [1, 2, 2, 7]
