"""The report on two groups of runs: what stands first, what fits, and what is left out."""

import json

import numpy as np
import pytest

from icshift.replicates.compare import compare
from icshift.reports.comparison import comparison_report, comparison_summary
from icshift.reports.comparison_verdict import NOISY
from icshift.runs.reader import StoredRun
from tests.replicates.trainings import NORMED, group
from tests.reports.shown import shown, words

PHASES = ("train", "probe")
FIVE = {"fc1": np.array([0.2, 0.25, 0.22, 0.3, 0.21]), "fc2": np.array([0.5, 0.4, 0.6, 0.5, 0.55])}
HALF = {"fc1": FIVE["fc1"] / 2, "fc2": FIVE["fc2"] / 2, "norm1": FIVE["fc1"] / 4}


@pytest.fixture(scope="module")
def of_methods(tmp_path_factory):
    """Two networks, five seeds of each, one with an inserted norm."""
    folder = tmp_path_factory.mktemp("methods")
    return compare(
        group(folder, "a", FIVE, phases=PHASES, windows=9),
        group(folder, "b", HALF, sites=NORMED, phases=PHASES, windows=9),
    )


@pytest.fixture(scope="module")
def of_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    few = [{site: values[:2] for site, values in of.items() if site != "norm1"} for of in (FIVE, HALF)]
    return compare(*(group(folder, name, of, phases=PHASES) for name, of in zip("ab", few, strict=True)))


def test_it_fits(of_methods, of_runs):
    for compared in (of_methods, of_runs):
        lines = shown(comparison_report(compared))
        assert max(map(len, lines[2:])) <= 80


def test_the_verdict_stands_first(of_methods):
    lines = shown(comparison_report(of_methods))
    assert lines[0].startswith("A: 5 runs, ")
    assert lines[1].startswith("B: 5 runs, ")
    assert lines[2].startswith("Path by role, train: ")
    assert "probe: A went 2.83 times as far as B" in " ".join(" ".join(lines[2:4]).split())


def test_sites_by_role_and_those_by_layer_that_differ(of_methods):
    said = shown(comparison_report(of_methods))
    start = next(i for i, line in enumerate(said) if line.startswith("A / B of every site: path"))
    rows = [line.split("  ")[0].strip() for line in said[start + 4 : start + 8]]
    assert rows == ["fc1 : norm1", "fc2", "by layer:", "fc1"]
    assert "Without a partner by layer, in B: norm1." in words(comparison_report(of_methods))


def test_test_and_interval_are_named_with_n(of_methods):
    said = words(comparison_report(of_methods))
    assert "5 pairs by position (same seed). p: sign-flip test of the log ratios, two-sided, all 2^5 patterns" in said
    assert "adjusted for the rows of its table" in said
    assert "train and probe may differ" in said
    assert "that part is by construction" in said


@pytest.mark.thorough
def test_some_windows_are_shown_the_last_among_them(of_methods):
    said = shown(comparison_report(of_methods))
    head = next(line for line in said if line.strip().startswith("window"))
    assert head.split() == ["window", "2", "3", "5", "6", "8", "9"]


def test_ratios_are_those_of_the_table(of_methods):
    table = of_methods.ratios
    row = table[
        (table["by"] == "layer") & (table["span"] == "path") & (table["metric"] == "w1") & (table["site_a"] == "")
    ]
    said = shown(comparison_report(of_methods))
    start = next(i for i, line in enumerate(said) if "over all sites by layer" in line)
    line = next(line for line in said[start:] if line.strip().startswith("path w1 ")).split()
    for phase, found in zip(PHASES, (line[2:6], line[6:]), strict=True):
        (expected,) = row[row["phase"] == phase].to_dict(orient="records")
        assert float(found[0]) == pytest.approx(expected["ratio"], rel=0.01)
        if expected["noise"] < NOISY:
            assert float(found[1]) == pytest.approx(expected["low"], rel=0.01)
        else:
            assert found[1:3] == ["–", "–"]


def test_few_runs_get_values_with_their_floors_and_no_ratio(of_runs):
    said = shown(comparison_report(of_runs))
    assert said[2].startswith("2 seeds: too few for a statement about the method.")
    head, probe = (line.split() for line in said if line.strip().startswith("site"))
    assert head == [
        "site",
        "run",
        "A",
        "path",
        "floor",
        "A",
        "last",
        "floor",
        "B",
        "path",
        "floor",
        "B",
        "last",
        "floor",
    ]
    assert probe == ["site", "run", "A", "path", "A", "last", "B", "path", "B", "last"]
    assert not any("A / B" in line or "95 %" in line for line in said)
    at = next(i for i, line in enumerate(said) if line.strip().startswith("fc1"))
    values = of_runs.values
    first = values[(values["phase"] == "train") & (values["metric"] == "w1_sd") & (values["site"] == "fc1")]
    path = first[(first["span"] == "path") & (first["number"] == 1)].set_index("group")
    assert said[at].split()[1:4] == ["1", f"{path['value']['A']:.3f}", f"{path['floor']['A']:.3f}"]


def test_groups_of_two_sizes_are_not_called_pairs(tmp_path):
    more = {site: np.append(values, values[:1] * 1.1) for site, values in HALF.items() if site != "norm1"}
    compared = compare(group(tmp_path, "a", FIVE), group(tmp_path, "b", more))
    said = words(comparison_report(compared))
    assert "5 and 6 runs, not paired. p: permutation test of the logs, two-sided, all ways to deal them out" in said
    assert "Welch's t" in said
    assert "by role" not in said
    assert "noise" not in said


def test_the_data_are_the_tables(of_methods):
    data = comparison_report(of_methods).data
    assert data["test"] == {"a": 5, "b": 5, "paired": True, "enough": True, "patterns": 16, "exact": True}
    assert len(data["ratios"]) == len(of_methods.ratios)
    assert data["verdict"].startswith("Path by role")
    assert data["alone"] == {"A": [], "B": ["norm1"]}


def test_in_short_it_has_the_verdict_and_all_sites(of_methods):
    short, whole = shown(comparison_summary(of_methods)), shown(comparison_report(of_methods))
    assert short[0] == whole[2]
    assert sum("A / B over all sites" in line for line in short) == 2
    assert not any("of every site" in line for line in short)


def test_runs_that_are_not_whole_are_told_in_the_heading_and_by_name(tmp_path):
    alone, other = (group(tmp_path, name, {site: of[:1] for site, of in FIVE.items()}) for name in "ab")
    for path, entries in (
        (alone[0].path, {"finished": False}),
        (other[0].path, {"finished": False, "stopped": {"reason": "disk full", "step": 7, "time": ""}}),
    ):
        manifest = json.loads((path / "run.json").read_text())
        del manifest["checksum"]
        (path / "run.json").write_text(json.dumps(manifest | entries))
    compared = compare([StoredRun(alone[0].path)], [StoredRun(other[0].path)])
    heading = comparison_report(compared).heading.splitlines()
    assert heading[0].endswith(" · unfinished")
    assert heading[1].endswith(" · stopped at step 7: disk full")
    assert f"{other[0].path}: stopped at step 7: disk full." in comparison_report(compared).notes
