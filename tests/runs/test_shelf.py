"""What is read of a window a little at a time is what is read of it whole, and no more than is asked for."""

from __future__ import annotations

import gc
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from icshift.errors import RunError
from icshift.runs import shelf
from icshift.runs.format import Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import change_table, distribution, of_zoo, probe, put_together, site
from tests.zoo.distributions import draw

UNITS = {"small": 3, "other": 7, "large": 300, "last": 2}


def recorded(path: Path, windows: int = 3) -> Path:
    sites = [site(name, units) for name, units in UNITS.items()]
    recording = Recording(path, {"model": "Net", "sites": [asdict(one) for one in sites]})
    for index in range(1, windows + 1):
        parts = {("train", one): of_zoo("normal", 600, units=one.units, seed=index) for one in sites}
        parts["probe", sites[0]] = probe(draw("relu", 40, 3, index))
        parts["eval", sites[1]] = distribution(draw("with_nan", 5, 7, index))
        recording.write_window(Window(index, str(index), 8 * index - 8, 8 * index - 1, closed=True), parts)
    recording.finish({})
    return path


def groups_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...]]]:
    read, found = pq.ParquetFile.read_row_groups, []

    def noting(self, groups, columns, **options):
        found.extend((group, tuple(columns)) for group in groups)
        return read(self, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noting)
    return found


@pytest.mark.parametrize("together", [False, True])
def test_a_little_at_a_time_is_the_whole(together: bool, tmp_path: Path) -> None:
    """In any order, with small and large sites, and windows that were put together."""
    path = recorded(tmp_path / "run")
    if together:
        put_together(path)
    asked, whole = StoredRun(path), StoredRun(path)
    keys = list(whole._load(1))
    assert list(asked._of(1)) == keys
    random = np.random.default_rng(0)
    for place in random.permutation(3 * len(keys)).tolist():
        window, key = 1 + place // len(keys), keys[place % len(keys)]
        laws.assert_identical(asked.distribution(*key, window), whole._load(window)[key])
    assert not asked._loaded


def test_of_a_site_its_own_rows_and_columns_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = StoredRun(recorded(tmp_path / "run", 1))
    large = run.distribution("train", "large", 1)
    found = groups_read(monkeypatch)
    assert len(large.mean) == 300
    assert {group for group, _ in found} == {0, 1}  # Moments are little, and read of several groups at once.
    assert not any("values" in columns for _, columns in found)
    del found[:]
    assert large.values.shape == (300, 128)
    assert run.distribution("train", "small", 1).values.shape == run.distribution("train", "other", 1).values[:3].shape
    assert found == [(1, ("values",)), (0, ("values",))]  # Small sites share a group, which is read once.


def test_what_nobody_holds_is_forgotten(tmp_path: Path) -> None:
    run = StoredRun(recorded(tmp_path / "run", 1))
    one = run.distribution("train", "large", 1)
    assert run.distribution("train", "large", 1) is one
    del one
    gc.collect()
    assert not run._of(1)._given


def test_more_than_fits_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "_KEPT_BYTES", 1)
    monkeypatch.setattr(shelf, "_KEPT_MOMENTS", 1)
    monkeypatch.setattr(shelf, "_MOST_OPEN", 1)
    asked, whole = StoredRun(recorded(tmp_path / "run")), StoredRun(tmp_path / "run")
    for window in (1, 2, 3, 1):
        for key, expected in whole._load(window).items():
            laws.assert_identical(asked.distribution(*key, window), expected)


@pytest.mark.parametrize(
    ("column", "told"),
    [("unit", "units are not in order"), ("window", "rows of another window"), ("count", "cannot be negative")],
)
def test_what_is_read_is_compared_with_what_it_should_be(column: str, told: str, tmp_path: Path) -> None:
    path = recorded(tmp_path / "run", 1)

    def change(table):
        numbers = table[column].to_numpy().copy()
        numbers[:] = -1 if column == "count" else np.roll(numbers, 1) + (column == "window")
        return table.set_column(table.column_names.index(column), column, [numbers])

    change_table(path / "windows" / "000001.rank0.parquet", change)
    with pytest.raises(RunError, match=told):
        StoredRun(path).distribution("train", "large", 1).mean  # noqa: B018


def test_a_page_that_is_damaged_is_told_by_who_reads_it(tmp_path: Path) -> None:
    path = recorded(tmp_path / "run", 1)
    file = path / "windows" / "000001.rank0.parquet"
    footer = pq.read_metadata(file)
    place = footer.schema.to_arrow_schema().names.index("mean")
    content = bytearray(file.read_bytes())
    content[footer.row_group(1).column(place).data_page_offset + 60] ^= 1
    file.write_bytes(content)
    run = StoredRun(path)
    assert run.distribution("train", "small", 1).mean.shape == (3,)
    with pytest.raises(RunError, match="damaged"):
        run.distribution("train", "large", 1).mean  # noqa: B018


@pytest.mark.parametrize("windows", [2, 24])
def test_moments_are_read_once_however_many_windows_there_are(
    windows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site is read over all windows: what is read for its neighbours has to be there when it is their turn."""
    sites = [site(str(number), 300) for number in range(8)]
    recording = Recording(tmp_path / "run", {"model": "Net", "sites": [asdict(one) for one in sites]})
    parts = {("train", one): of_zoo("normal", 16, units=300) for one in sites}
    for index in range(1, windows + 1):
        recording.write_window(Window(index, str(index), 8 * index - 8, 8 * index - 1, closed=True), parts)
    recording.finish({})
    monkeypatch.setattr(shelf, "_KEPT_MOMENTS", 2 * windows * 300 * shelf._ROW_BYTES)  # Those of two sites.
    read = groups_read(monkeypatch)
    run = StoredRun(tmp_path / "run")
    assert all(run.distribution("train", sites[0].name, index) for index in range(1, windows + 1))
    for one in sites:
        assert all(run.distribution("train", one.name, index).mean.size for index in range(1, windows + 1))
    assert len(read) == len(sites) * windows
