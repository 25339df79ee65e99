"""What the report of a run says of its drift."""

import numpy as np
import pytest

from icshift.analysis.by_site import summary
from icshift.analysis.metrics import METRICS
from icshift.reports.drift import drift_report, metrics_report, normalised_by
from icshift.runs.format import Site
from tests.recorded import distribution, probe
from tests.reports.shown import run_of, shown, words

SITES = [
    Site("fc1", "Linear", 1, 4),
    Site("norm1", "BatchNorm1d", 1, 4, normalises=True, batch_statistics=True, follows="fc1"),
]
PHASES = ["train", "probe", "probe-train", "probe-batch", "probe-precise"]


def values(window, place):
    return np.random.default_rng([window, place]).normal(0.3 * window * (1 - place), 1, (4, 400))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two windows of every phase that may be recorded; norm1 does not drift."""
    windows = [
        {
            (phase, site.name): (distribution if phase == "train" else probe)(values(window, place))
            for phase in PHASES
            for place, site in enumerate(SITES)
        }
        for window in (1, 2)
    ]
    ledger = [{"module": "fc9", "type": "Linear", "state": "never called", "reason": "no tensor came"}]
    return run_of(tmp_path_factory.mktemp("drift") / "run", windows, sites=SITES, ledger=ledger)


def report(run, phase="train", metric="w1_sd"):
    return drift_report(run, summary(run, phase=phase, metric_name=metric), METRICS[metric])


def test_what_it_says_in_order(run):
    lines = shown(report(run))
    assert words(report(run)).startswith(f"{run.path} · Net · phase train · window epoch 2 against epoch 1")
    assert [line.split()[0] for line in lines if line.startswith((" fc1", " norm1"))] == ["fc1", "norm1"]
    assert max(map(len, lines[1:-1])) <= 80
    assert lines[-1].startswith("Modules not recorded: 1 never called (`icshift info")
    assert report(run).next_step == f"Next: icshift units {run.path} --site fc1   (the site that drifts most)"


@pytest.mark.parametrize("phase", PHASES)
def test_a_dagger_wherever_batch_norm_used_statistics_of_these_inputs(phase, run):
    said = words(report(run, phase))
    assert ("norm1 †" in said) == (phase != "probe")
    assert ("† Mean and sd here are set by the layer's own weight and bias" in said) == (phase != "probe")
    assert "fc1 †" not in said


def test_wide_screens_show_more_columns(run):
    narrow, wide = (next(line for line in shown(report(run), width) if "trend" in line) for width in (99, 100))
    assert "units" not in narrow
    assert {"units", "p90", "max"} <= set(wide.split())


def test_data_leave_out_what_is_not_known(run, tmp_path):
    rows = report(run).data["sites"]
    assert [row["site"] for row in rows] == ["fc1", "norm1"]
    assert all(value is not None for row in rows for name, value in row.items() if name not in ("dead", "saturated"))
    single = run_of(tmp_path / "run", [{("train", "fc1"): distribution(values(1, 0))}], sites=SITES[:1])
    assert "window" not in drift_report(single, summary(single), METRICS["w1_sd"]).data["sites"][0]
    assert "One window leaves nothing to compare" in words(report(single))
    assert report(single).next_step == f"Next: icshift info {single.path}"


@pytest.mark.parametrize("sites", [None, "norm1"])
def test_a_site_without_a_window_before_the_last_is_told_of(sites, tmp_path):
    windows = [
        {
            ("train", site.name): distribution(values(window, place))
            for place, site in enumerate(SITES[: window % 2 + 1])
        }
        for window in range(1, 6)
    ]
    run = run_of(tmp_path / "run", windows, sites=SITES)
    told = drift_report(run, summary(run, sites=sites), METRICS["w1_sd"])
    why = "nothing in window epoch 4 to compare window epoch 5 with; --reference 'epoch 3' compares it with"
    assert f"drift –: not compared at norm1: {why}" in words(told)
    assert told.data["sites"][-1]["moved_unknown"].startswith(why)
    assert "one window" not in words(told).lower()
    assert ("nothing to compare" in told.heading) == (sites is not None)


def test_what_was_in_training_mode_is_said(run, tmp_path):
    whole, alone = "A recorder replays this phase in training mode", "Batch norm normalises by the batch here"
    said = {phase: " ".join(normalised_by(run, phase)) for phase in PHASES}
    assert whole in said["probe-train"]
    assert alone in said["probe-batch"]
    assert [said[phase] for phase in ("train", "probe-precise")] == [""] * 2
    assert said["probe"].startswith("Recorded by an older version, batch norm by its running averages")
    plain = run_of(tmp_path / "plain", [], sites=SITES[:1])
    assert normalised_by(plain, "probe") == []
    new = run_of(tmp_path / "new", [], sites=SITES, settings={"probe_statistics": "own inputs"})
    assert "by the statistics of these inputs" in " ".join(normalised_by(new, "probe"))
    assert "by its running averages, as in a model that is deployed" in " ".join(normalised_by(new, "probe-running"))
    older = run_of(tmp_path / "run", [], sites=SITES, settings={"phases": ["probe", "probe-train"]})
    assert alone in " ".join(normalised_by(older, "probe-train"))


def test_every_metric_is_listed():
    said = words(metrics_report(METRICS), width=300)
    assert all(f"{name} " in said for name in METRICS)
