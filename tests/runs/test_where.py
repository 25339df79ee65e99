"""A reader beside a recorder that puts files together finds every window once, wherever it is."""

import pytest

from icshift.errors import RunError
from icshift.runs import where
from icshift.runs.parts import parts_in
from icshift.runs.reader import StoredRun
from icshift.runs.window_file import ChangedError
from tests import laws
from tests.recorded import change_manifest, of_zoo, put_together, write_run


@pytest.fixture
def run(tmp_path):
    path = write_run(tmp_path / "run", [{("train", "a"): of_zoo("normal", 30 + k)} for k in range(6)])
    change_manifest(path / "run.json", finished=False)
    return path


def test_what_was_opened_before_is_read_after(run):
    opened, held = StoredRun(run), StoredRun(run)
    asked = [held.distribution("train", "a", window) for window in range(1, 7)]
    put_together(run)
    put_together(run, 0)
    for window in range(1, 7):
        expected = of_zoo("normal", 29 + window)
        laws.assert_identical(opened.distribution("train", "a", window), expected)
        laws.assert_identical(asked[window - 1], expected)
    assert opened.whole


def test_a_window_that_is_gone_is_no_window_that_moved(run):
    opened = StoredRun(run)
    (run / "windows" / "000003.rank0.parquet").unlink()
    laws.assert_identical(opened.distribution("train", "a", 2), of_zoo("normal", 31))
    with pytest.raises(ChangedError, match="was there a moment ago"):
        opened.distribution("train", "a", 3)


def test_a_file_that_is_left_over_is_not_read_twice(run):
    left = {file.name: file.read_bytes() for file in (run / "windows").iterdir()}
    put_together(run)
    for name, content in left.items():
        (run / "windows" / name).write_bytes(content)
    found = StoredRun(run)
    assert [window.index for window in found.window_list] == [1, 2, 3, 4, 5, 6]
    assert found.missing == ()
    assert [part.path.name for part in parts_in(run / "windows", 1)] == [
        "000001-000005.rank0.parquet",
        "000006.rank0.parquet",
    ]


def test_a_window_in_two_files_that_stand_is_damage(run):
    put_together(run)
    (run / "windows" / "000001-000005.rank0.parquet").rename(run / "windows" / "000000-000005.rank0.parquet")
    (run / "windows" / "1-5.rank0.parquet").write_bytes((run / "windows" / "000000-000005.rank0.parquet").read_bytes())
    assert len(StoredRun(run).window_list) == 6
    (run / "windows" / "1-5.rank0.parquet").rename(run / "windows" / "1-7.rank0.parquet")
    with pytest.raises(RunError, match="holds window 1, as 000000-000005"):
        StoredRun(run)


def test_a_file_that_came_while_a_directory_was_listed_is_looked_for_again(run, monkeypatch):
    listed, seen = where.parts_in, []

    def meanwhile(folder, ranks):
        found = listed(folder, ranks)
        if not seen:
            put_together(run)
        seen.append(len(found))
        return found[3:] if len(seen) == 1 else found  # As where the first ones were deleted before they were come by.

    monkeypatch.setattr(where, "parts_in", meanwhile)
    assert len(StoredRun(run).window_list) == 6
    assert len(seen) > 2
