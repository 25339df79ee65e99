"""What `icshift units` prints: of the units of a site, and of one unit over its steps."""

import json
from dataclasses import asdict

import pytest

import icshift
from icshift.runs.format import Site
from icshift.runs.writer import Recording


def test_the_most_drifting_come_first(two_windows, printed):
    found = json.loads(printed("units", two_windows, "--site", "fc1", "--top", "5", "--json"))["units"]
    drift = icshift.open(two_windows).drift(sites="fc1")
    expected = drift.sort_values("value", ascending=False)["unit"].head(5).tolist()
    assert [row["unit"] for row in found] == expected


def test_it_fits_80_columns(two_windows, printed):
    assert max(map(len, printed("units", two_windows, "--site", "fc1", "-q").splitlines()[1:])) <= 80


def test_a_metric_of_a_long_name_fits_80_columns(two_windows, printed):
    out = printed("units", two_windows, "--site", "fc1", "--metric", "mean_shift_sd")
    head = next(line.split() for line in out.splitlines() if line.split()[:1] == ["unit"])
    assert head == ["unit", "drift", "floor", "×floor", "mean", "sd", "q15", "q50", "q85", "zeros"]


def test_one_window_says_that_there_is_nothing_to_compare(one_window, printed):
    assert "nothing to compare" in printed("units", one_window, "--site", "fc1")


def test_one_unit_is_drawn_over_its_steps(two_windows, printed):
    text = printed("units", two_windows, "--site", "fc1", "--unit", "3")
    assert "━" in text
    assert text.rstrip().endswith("19")


def test_one_unit_as_json_is_its_step_series(two_windows, printed):
    found = json.loads(printed("units", two_windows, "--site", "fc1", "--unit", "3", "--json"))
    steps = icshift.open(two_windows).steps(phase="train", sites=["fc1"]).query("unit == 3")
    assert [row["q50"] for row in found["steps"]] == pytest.approx(steps["q50"].tolist())


def test_metrics_by_example(two_windows, printed):
    words = " ".join(
        printed("units", two_windows, "--site", "fc1", "--metric", "displacement", "--phase", "probe").split()
    )
    assert "drift: displacement in activation, mean distance that each example moved." in words
    assert "n = 50 paired activations each" in words
    assert "floor" not in words  # A probe has no noise.
    assert "noise" not in words


@pytest.mark.parametrize(
    ("name", "options"), [("units", ("--site", "fc1", "--top", "6")), ("unit", ("--site", "fc1", "--unit", "4"))]
)
def test_output_is_what_it_was(name, options, difference_from_golden):
    difference = difference_from_golden(name, "units", "run", *options)
    assert not difference, difference


MISTAKES = {
    "unknown site": (["--site", "fx2"], "did you mean fc2"),
    "unknown unit": (["--site", "fc2", "--unit", "3"], "no unit 3 in site fc2: it has units 0 to 2"),
    "no site": ([], "--site"),
    "no examples": (["--site", "fc1", "--metric", "displacement"], "choose --phase probe"),
    "a metric of the whole site": (
        ["--site", "fc1", "--metric", "cka_distance", "--phase", "probe"],
        "--metric cka_distance --phase probe --site fc1 shows it",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, two_windows, refused):
    options, expected = MISTAKES[mistake]
    assert expected in refused("units", two_windows, *options)


def test_a_run_without_windows_is_one_line(tmp_path, refused):
    Recording(tmp_path / "run", {"sites": [asdict(Site("fc1", "Linear", axis=1, units=3))]})
    refused("units", tmp_path / "run", "--site", "fc1")
