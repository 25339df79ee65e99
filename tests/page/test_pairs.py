"""What is drawn of two groups of runs is what `icshift compare` computes."""

import numpy as np
import pytest

from icshift.page.pairs import pairs_of
from icshift.replicates.compare import compare
from icshift.reports.comparison_verdict import verdict
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
    assert pairs.sentence == verdict(compared)
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
