"""Which files are gone is told, of finished runs and of others, and nothing else is taken for gone."""

import shutil
from dataclasses import asdict

import pytest

from icshift.errors import RunError
from icshift.runs.format import MANIFEST, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.recorded import change_manifest, of_zoo, site, write_run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", [{("train", "a"): of_zoo("normal", 30)}] * 5)


def without(run, *windows):
    for window in windows:
        (run / "windows" / f"{window:06d}.rank0.parquet").unlink()
    return StoredRun(run)


def test_nothing_is_missing_of_a_whole_run(run):
    assert StoredRun(run).missing == ()
    assert StoredRun(run).ending.complete


@pytest.mark.parametrize("windows", [(1,), (3,), (5,), (2, 3)])
def test_windows_that_are_gone_are_counted(run, windows):
    are = "is" if len(windows) == 1 else "are"
    found = without(run, *windows)
    assert found.missing == (f"{len(windows)} of the 5 windows in windows/ {are} missing.",)
    assert not found.ending.complete
    assert found.ending.heading == " · files are missing"
    assert [window.index for window in found.window_list] == [w for w in range(1, 6) if w not in windows]


def test_a_run_without_its_folder_of_windows_is_not_a_young_one(run):
    shutil.rmtree(run / "windows")
    for finished in (True, False):
        change_manifest(run / MANIFEST, finished=finished)
        with pytest.raises(RunError, match=r"has lost its windows: 5 of the 5 windows in windows/ are missing\."):
            StoredRun(run).windows()


@pytest.mark.parametrize("finished", [True, False])
def test_windows_between_others_are_named_where_nothing_was_counted(run, finished):
    change_manifest(run / MANIFEST, without=["files"], finished=finished)
    found = without(run, 1, 3, 4)
    assert found.missing == ("Windows 1, 3, 4 are missing, with later ones there.",)


def test_windows_that_a_gap_explains_are_not_missing(run):
    gap = {"first_step": 20, "last_step": 29, "reason": "disk full", "time": ""}
    change_manifest(run / MANIFEST, without=["files"], gaps=[gap])
    assert without(run, 3).missing == ()


def test_the_last_window_of_a_run_that_goes_on_may_be_to_come(tmp_path):
    recording = Recording(tmp_path / "run", {"sites": [asdict(site("a"))]})
    assert StoredRun(tmp_path / "run").missing == ()
    for index in (1, 2):
        recording.write_window(
            Window(index, "", index, index, closed=True), {("train", site("a")): of_zoo("normal", 7)}
        )
        assert StoredRun(tmp_path / "run").missing == ()


def test_provisional_windows_that_are_being_joined_are_not_missing(tmp_path):
    recording = Recording(tmp_path / "run", {"sites": [asdict(site("a"))]})
    for index in range(1, 5):
        window = Window(index, str(index), index, index, closed=True, provisional=True)
        recording.write_window(window, {("train", site("a")): of_zoo("normal", 7)})
    recording.update({})
    recording.delete_windows(3)
    assert StoredRun(tmp_path / "run").missing == ()


def test_segments_that_are_gone_are_counted(two_windows, tmp_path):
    run = shutil.copytree(two_windows, tmp_path / "run")
    next((run / "steps").iterdir()).unlink()
    (told,) = StoredRun(run).missing
    assert told.startswith("1 of the ")
    assert told.endswith("in steps/ is missing.")


def test_more_files_than_were_written_are_told(two_windows, tmp_path):
    run = shutil.copytree(two_windows, tmp_path / "run")
    shutil.copy(next((run / "steps").iterdir()), run / "steps" / "000099.rank0.parquet")
    (told,) = StoredRun(run).missing
    assert told.startswith("There are ")
