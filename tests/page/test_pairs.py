"""What is drawn of two groups of runs is what `icshift compare` computes."""

import numpy as np
import pytest

from icshift.page.pairs import PATHS, RATIOS, farther, mark_in_words, pairs_of, panels, ratio_in_words
from icshift.replicates.compare import compare
from icshift.reports.comparison_verdict import verdict
from tests.page.pages import pairs_of_groups
from tests.replicates.trainings import NORMED, group

FIVE = {"fc1": np.array([0.2, 0.25, 0.22, 0.3, 0.21]), "fc2": np.array([0.5, 0.4, 0.6, 0.5, 0.55])}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    half = {"fc1": FIVE["fc1"] / 2, "fc2": FIVE["fc2"] / 2, "norm1": FIVE["fc1"] / 4}
    return compare(group(folder, "a", FIVE, windows=3), group(folder, "b", half, sites=NORMED, windows=3))


def test_pairs_are_by_role_with_the_path_of_every_run(compared):
    pairs = pairs_of(compared)
    assert [pair.name for pair in pairs.pairs] == ["fc1 : norm1", "fc2"]
    assert pairs.sentence.rstrip(".") == verdict(compared).rstrip(":.")
    assert [len(group) for group in pairs.groups] == [5, 5]
    for pair in pairs.pairs:
        for group_name, site in zip("AB", pair.sites, strict=True):
            values = compared.values
            here = (values["group"] == group_name) & (values["site"] == site) & (values["span"] == "path")
            rows = values[here & (values["metric"] == "w1_sd")]
            found = [mark for mark in pair.marks["probe"] if mark.group == group_name]
            assert [mark.value for mark in found] == rows["value"].tolist()
            assert [mark.floor for mark in found] == rows["floor"].tolist()


def test_ratios_are_those_of_the_table(compared):
    rows = compared.ratios.query("by == 'role' and metric == 'w1_sd' and span == 'path' and site_a == 'fc2'")
    ratio = pairs_of(compared).pairs[1].ratios["probe"]
    assert [ratio.ratio, ratio.low, ratio.high, ratio.p] == rows.iloc[0][
        ["ratio", "low", "high", "p_adjusted"]
    ].tolist()
    assert not ratio.noisy


def test_few_runs_have_no_ratio(tmp_path):
    two = {site: values[:2] for site, values in FIVE.items()}
    few = compare(group(tmp_path, "a", two, windows=3), group(tmp_path, "b", two, windows=3))
    assert all(not pair.ratios for pair in pairs_of(few).pairs)


def test_words_of_marks_hold_all_that_is_known_of_them():
    pair = pairs_of_groups().pairs[0]
    assert mark_in_words(pair.name, pair.marks["probe"][0]) == "fc1 : norm1, A run 1: path 2"
    assert mark_in_words(pair.name, pair.marks["train"][0]).endswith("path 2, floor 0.222222222")
    assert ratio_in_words(pair.name, pair.ratios["train"]).endswith("A / B 2, 95 % interval 1.5 to 2.7, p 0.03")
    assert ratio_in_words(pair.name, pair.ratios["probe"]).endswith("of noise as much as of drift: no statement")


@pytest.mark.parametrize(("runs", "kinds"), [(1, [PATHS] * 2), (5, [PATHS] * 2 + [RATIOS] * 2)])
def test_an_axis_holds_every_mark_and_a_few_round_numbers(runs, kinds):
    pairs = pairs_of_groups(runs)
    made = panels(pairs)
    assert [panel.kind for panel in made] == kinds
    for panel in made:
        assert 3 <= len(panel.ticks) <= 6
        assert panel.low <= panel.ticks[0]
        assert panel.ticks[-1] <= panel.high
        for pair in pairs.pairs:
            ratio = pair.ratios.get(panel.phase)
            drawn = [mark.value for mark in pair.marks[panel.phase]] if panel.kind == PATHS else [1.0, ratio.ratio]
            assert all(panel.low <= value <= panel.high for value in drawn)


def test_pairs_are_sorted_by_their_ratio_or_by_their_means():
    tested, few = (pairs_of_groups(runs).pairs[0] for runs in (5, 2))
    assert farther(tested, "probe") == 0.5
    assert farther(few, "probe") == pytest.approx(2.0)
