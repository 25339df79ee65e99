"""What is said of two groups of runs: no more than interval, test and noise allow."""

import numpy as np
import pytest

from icshift.replicates.compare import compare
from icshift.reports.comparison_verdict import p_value, verdict
from tests.replicates.trainings import PLAIN, group


def said(folder, a, b, **options):
    """The verdict on runs with one site that moves by so much."""

    runs = [
        group(folder, name, {"fc1": np.array(drifts)}, sites=PLAIN[:1], **options)
        for name, drifts in (("a", a), ("b", b))
    ]
    return verdict(compare(*runs)).splitlines()


def test_a_clear_difference(tmp_path):
    path, last, beyond = said(tmp_path, [0.4, 0.5, 0.44, 0.6, 0.42, 0.5], [0.2, 0.24, 0.23, 0.3, 0.2, 0.26])
    assert path.startswith("Path, probe: A went 2.00 times as far as B (95 % 1.92 to 2.09)")
    assert last.startswith("Last window, probe: A went 2.0")
    assert beyond == "This is of these networks on these data; it is not whether a method trains better."


def test_of_five_pairs_it_is_said_that_the_interval_decides(tmp_path):
    lines = said(tmp_path, [0.4, 0.5, 0.44, 0.6, 0.42], [0.2, 0.24, 0.23, 0.3, 0.2])
    assert lines[0].startswith("Path, probe: A went")
    assert lines[2].startswith("5 pairs cannot give a p below 0.062: here the intervals say it")


def test_an_interval_that_holds_1_shows_nothing(tmp_path):
    lines = said(tmp_path, [0.4, 0.2, 0.44, 0.6, 0.3], [0.2, 0.5, 0.4, 0.5, 0.35])
    assert lines[0].startswith("Path, probe: no difference shown, A went")


def test_where_interval_and_test_disagree_it_is_unclear(tmp_path):
    """One pair goes a little the other way: Student's interval leaves 1 out, but 4 of 32 patterns are as far off."""
    lines = said(tmp_path, np.array([1.3, 1.32, 1.28, 1.35, 1.0]) * 0.2 * [1, 1, 1, 1, 0.98], [0.2] * 5)
    assert lines[0].startswith("Path, probe: unclear, A went")
    assert "but p = 0.125" in lines[0]


def test_of_noise_nothing_is_said(tmp_path):
    lines = said(tmp_path, [0.001] * 5, [0.002] * 5, phases=("train",))
    assert lines[0] == "Path, train: mostly sampling noise, no statement."


def test_a_frozen_network_has_no_ratio(tmp_path):
    lines = said(tmp_path, [0.0] * 5, [0.2] * 5)
    assert lines[0] == "Path, probe: not known, no site has a value above 0 in all runs."


@pytest.mark.some(1)
@pytest.mark.parametrize(("runs", "start"), [(1, "One seed: no statement about the method."), (4, "4 seeds: too few")])
def test_few_seeds_say_nothing(runs, start, tmp_path):
    (line,) = said(tmp_path, [0.4] * runs, [0.1] * runs)
    assert line.startswith(start)
    assert "times" not in line


def test_few_runs_of_one_group(tmp_path):
    (line,) = said(tmp_path, [0.4] * 6, [0.1] * 2)
    assert line.startswith("6 and 2 runs: too few for a statement about the method.")


def test_small_p_values_are_not_called_0():
    assert [p_value(p) for p in (0.0625, 0.0004, np.nan)] == ["0.062", "<0.001", "–"]
