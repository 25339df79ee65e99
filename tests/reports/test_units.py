"""What the reports of the units of a site say."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.metrics import METRICS
from icshift.analysis.units import most_drifting
from icshift.reports.units import unit_report, units_report
from icshift.runs.format import Site
from tests.recorded import distribution
from tests.reports.shown import run_of, shown, words

SITE = Site("fc 1", "Linear", 1, 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two windows, in which unit 2 alone drifts and unit 1 is constant."""
    random = np.random.default_rng(5)
    windows = []
    for window in (0, 1):
        values = random.normal(size=(4, 500))
        values[1] = 0.5
        values[2] += window
        windows.append({("train", "fc 1"): distribution(values)})
    return run_of(tmp_path_factory.mktemp("units") / "run", windows, sites=[SITE])


def test_the_most_drifting_come_first(run):
    table = most_drifting(run, SITE, "w1_sd", "previous", None)
    report = units_report(run, SITE, table.head(2), METRICS["w1_sd"], of=len(table))
    lines = shown(report)
    heading = f"{run.path} · site fc 1 (Linear) · phase train · window epoch 2 against epoch 1"
    assert words(report).startswith(heading)
    first = next(line for line in lines if line.split()[:1] == ["2"])
    assert "*" in first
    assert "2 of 4 units, n = 500 sampled activations each" in words(report)
    # It has no series of steps, in which a unit could be looked at.
    assert report.next_step == f"Next: icshift report {run.path} --site 'fc 1'"
    assert next(row["unit"] for row in report.data["units"]) == 2
    assert "≈ 1" in words(units_report(run, SITE, table, METRICS["w1_sd"], of=4))


def test_a_unit_is_drawn_to_the_width_and_from_one_process(run):
    steps = pd.DataFrame({"step": range(200), "q15": -1.0, "q50": np.linspace(0, 1, 200), "q85": 2.0, "count": 64})
    both = pd.concat([steps.assign(rank=0), steps.assign(rank=1, q50=np.nan)], ignore_index=True)
    report = unit_report(run, SITE, 2, both)
    narrow, wide = (max(map(len, shown(report, width)[1:])) for width in (60, 100))
    assert narrow <= 60 < wide <= 100
    assert "unit 2 · 15th, 50th, 85th percentile of each step (≤ 64 activations a step, process 0 of 1)" in words(
        report
    )
    assert len(report.data["steps"]) == 400
