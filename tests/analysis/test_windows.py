"""Which window is looked at, and what every window shows."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.by_site import summary
from icshift.analysis.drift import movements
from icshift.analysis.outcome import outcome
from icshift.analysis.windows import as_of, by_window
from icshift.errors import SelectionError
from icshift.runs.reader import StoredRun
from tests.recorded import distribution, write_run
from tests.zoo.distributions import draw


def values(mean, seed):
    return distribution(draw("normal", 400, seed=seed) + mean, steps=16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Site a jumps in window `c` of five, site b in the last; eval has windows b and c alone."""
    path = tmp_path_factory.mktemp("windows") / "run"
    means = zip((0, 0, 5, 5, 5), (0, 0, 0, 0, 1), strict=True)
    windows = [
        {("train", "a"): values(a, 2 * i), ("train", "b"): values(b, 2 * i + 1)} for i, (a, b) in enumerate(means)
    ]
    for index in (1, 2):
        windows[index]["eval", "a"] = values(index, 20 + index)
    return StoredRun(write_run(path, windows, names=["a", "b", "c", "d", "e"]))


def test_last_is_the_run_itself(run):
    seen = as_of(run, "last")
    assert seen.run is run
    assert seen.searched == 1


@pytest.mark.parametrize("asked", ["c", "3"])
def test_a_window_by_name_or_number_is_the_run_that_ended_there(run, asked):
    seen = as_of(run, asked)
    assert [window.name for window in seen.run.window_list] == ["a", "b", "c"]
    assert seen.searched == 1
    assert not seen.run.whole
    assert run.whole
    table = summary(seen.run)
    assert table["name"].tolist() == ["c", "c"]
    assert [len(trend) for trend in table["trend"]] == [2, 2]
    assert outcome(seen.run).moved == ("a",)
    assert outcome(run).moved == ("b",)


def test_the_worst_is_where_a_site_went_furthest_against_its_floor(run):
    seen = as_of(run, "worst")
    assert seen.run.window_list[-1].name == "c"
    assert seen.searched == 4
    assert as_of(run, "worst", sites="b").run.window_list[-1].name == "e"


def test_the_worst_is_among_the_windows_of_the_phase(run):
    seen = as_of(run, "worst", phase="eval")
    assert seen.run.window_list[-1].name == "c"
    assert seen.searched == 1


@pytest.mark.parametrize(
    ("asked", "options", "said"),
    [
        ("a", {}, "window a has nothing to compare it with; windows that have: b, c, d, e"),
        ("e", {"phase": "eval"}, "windows that have: c"),
        ("f", {}, "no window 'f'"),
        ("worst", {"metric_name": "w3"}, "no metric 'w3'"),
        ("c", {"sites": "z"}, "no site 'z'"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(run, asked, options, said):
    with pytest.raises(SelectionError, match=said):
        as_of(run, asked, **options)


def test_of_many_windows_a_few_are_named(tmp_path):
    """All 1,999 of them came in one line."""
    made = StoredRun(write_run(tmp_path / "many", [{("train", "a"): values(0, 1)}] * 40))
    with pytest.raises(SelectionError, match=r"windows that have: [^,]+(, [^,]+){11}, and 27 more$"):
        as_of(made, made.window_list[0].name)


def test_every_window_is_what_the_report_of_the_run_until_then_shows(run):
    table = by_window(run, metric_name="ks")
    assert table.groupby("site", sort=False)["name"].apply(list).to_dict() == {"a": list("bcde"), "b": list("bcde")}
    judged = movements(run)
    for row in table.itertuples():
        there = summary(run.until(run.window(row.window)), metric_name="ks").set_index("site").loc[row.site]
        assert (row.drift, row.floor, row.ratio) == (there["drift"], there["floor"], there["ratio"])
        assert pd.isna(row.moved) == (row.site in judged[row.window].unknown)
        assert pd.isna(row.moved) or row.moved == (row.site in judged[row.window].called)
    assert table["moved"].notna().any()


def test_what_cannot_be_told_is_neither_moved_nor_still(tmp_path):
    short = [{("train", "a"): distribution(draw("normal", 9, seed=seed), steps=2)} for seed in (0, 1)]
    table = by_window(StoredRun(write_run(tmp_path / "run", short)))
    assert table["moved"].isna().all()
    assert np.isfinite(table["drift"]).all()


def test_one_window_is_a_table_without_rows_and_is_its_own_worst(tmp_path):
    alone = StoredRun(write_run(tmp_path / "run", [{("train", "a"): values(0, 0)}]))
    assert by_window(alone).empty
    assert as_of(alone, "worst").run is alone
