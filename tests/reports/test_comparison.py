"""The demo's two runs side by side."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.by_site import summary
from icshift.reports.comparison import Trained, comparison_report, demo_report
from icshift.runs.format import Site
from tests.recorded import distribution, probe
from tests.reports.shown import run_of, shown, words


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two runs of two windows each; the second has the site norm1 too."""
    folder, random, networks = tmp_path_factory.mktemp("comparison"), np.random.default_rng(5), []
    for name, sites in (("plain", ["fc1"]), ("batch-norm", ["fc1", "norm1"])):
        windows = [
            {("train", site): distribution(random.normal(window, 1, (4, 300))) for site in sites}
            | {("probe", site): probe(random.normal(window, 1, (4, 300))) for site in sites}
            for window in (0, 1)
        ]
        run = run_of(folder / name, windows, sites=[Site(site, "Linear", 1, 4) for site in sites])
        summaries = {phase: summary(run, phase=phase) for phase in ("train", "probe")}
        steps = pd.DataFrame({"site": "fc1", "unit": 2, "step": range(40), "count": 64})
        steps = steps.assign(q15=-1.0, q50=0.0, q85=1.0)
        networks.append(Trained(run, 0.9, summaries, steps, (1.25, 0.5, 0.75)))
    return networks


def test_both_stand_side_by_side_and_fit(networks):
    lines = shown(comparison_report(networks))
    assert max(map(len, lines)) <= 80
    said = words(comparison_report(networks))
    assert "Drift, epoch 2 against epoch 1: w1_sd in sd, median over units" in said
    (blank,) = {len(line.split()) for line in lines if line.startswith(" norm1") and "%" in line}
    (full,) = {len(line.split()) for line in lines if line.startswith(" fc1") and "%" in line}
    assert full == 1 + 2 * (blank - 1)
    assert "plain test accuracy 0.900 on 397 digits" in said
    assert "fc1: a unit's median wandered over 1.25, its sd went 0.50 to 0.75" in said


def test_it_says_where_everything_is(networks):
    report = demo_report(networks, "drift.csv", "checkpoints", ("probe.npz", "train.npz"))
    paths = [network.run.path for network in networks]
    assert shown(report)[-2:] == [
        f"Runs {paths[0]} and {paths[1]}, drift of every unit in drift.csv",
        "Saved models in checkpoints, inputs for these in probe.npz, with targets in train.npz",
    ]
    assert report.next_step == f"Next: icshift report {paths[0]}"
