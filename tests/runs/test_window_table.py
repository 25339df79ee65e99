"""The table of a window: all sites in one, as their files had it one by one."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from icshift.runs.format import MOST_COUNTED, Window
from icshift.runs.reader import StoredRun
from icshift.runs.window_table import row_groups, window_table
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import of_zoo, probe, site
from tests.zoo.distributions import draw


def test_sites_of_every_kind_stand_in_one_table_and_are_read_as_they_were(tmp_path: Path) -> None:
    """Of other widths, without blocks, with examples, with tails, of some units, with values that are not finite."""
    given = {
        ("train", site("few")): of_zoo("normal", 7),
        ("train", site("many", units=90, kept=(5, 50))): of_zoo("relu", 3000, units=2),
        ("probe", site("few")): probe(draw("normal", 300)),
        ("train", site("broken")): of_zoo("with_nan", 600),
    }
    sites = list({key[1].name: asdict(key[1]) for key in given}.values())
    recording = Recording(tmp_path / "run", {"sites": sites})
    recording.write_window(Window(3, "3", 0, 9, closed=True), given)
    run = StoredRun(tmp_path / "run")
    for (phase, one), distribution in given.items():
        laws.assert_identical(run.distribution(phase, one.name, 3), distribution)


def test_blocks_of_more_than_32_bits_count_are_read_again(tmp_path: Path) -> None:
    """As of a convolution with `samples="all"`, in a window of half a million steps."""
    small = of_zoo("normal", 3000)
    assert small.blocks is not None
    by = 1 << 24
    blocks = replace(small.blocks, sampled=small.blocks.sampled * by, zeros=small.blocks.zeros * by)
    large = replace(small, count=small.count * by, sampled=small.sampled * by, blocks=blocks)
    recording = Recording(tmp_path / "run", {"sites": [asdict(site("a"))]})
    recording.write_window(Window(1, "1", 0, 9, closed=True), {("train", site("a")): large})
    found = StoredRun(tmp_path / "run").distribution("train", "a", 1)
    assert found is not None
    assert found.blocks is not None
    assert (found.blocks.sampled == MOST_COUNTED).all()
    assert (found.sampled == large.sampled).all()


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([3], [3]),
        ([100, 100, 100, 10], [310]),
        ([100] * 6, [300, 300]),
        ([1024, 10], [1024, 10]),
        ([10, 1024, 1024, 300, 3], [10, 1024, 1024, 303]),
    ],
)
def test_a_large_site_is_a_row_group_and_small_ones_share_one(sites: list[int], expected: list[int]) -> None:
    one = of_zoo("normal", 7, units=1)
    many = {("train", site(f"s{n}", units=size)): one.take(np.zeros(size, int)) for n, size in enumerate(sites)}
    assert row_groups(window_table(1, many)) == expected


def test_rows_name_their_phase_site_unit_and_window() -> None:
    many = site("many", units=90, kept=(5, 50))
    table = window_table(4, {("train", site("a")): of_zoo("normal", 7), ("eval", many): of_zoo("normal", 7, units=2)})
    assert table["phase"].to_pylist() == ["train"] * 3 + ["eval"] * 2
    assert table["site"].to_pylist() == ["a"] * 3 + ["many"] * 2
    assert table["unit"].to_pylist() == [0, 1, 2, 5, 50]
    assert table["window"].to_pylist() == [4] * 5
