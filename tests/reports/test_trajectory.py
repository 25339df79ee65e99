"""What the report of paths says."""

import numpy as np
import pytest

from icshift.analysis.metrics import METRICS
from icshift.analysis.trajectory import trajectory
from icshift.reports.trajectory import path_report
from icshift.runs.format import Site
from tests.recorded import distribution, probe
from tests.reports.shown import run_of, shown, words


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three windows: fc1 goes away and comes back, fc2 goes on."""
    random = np.random.default_rng(3)
    windows = []
    for back, on in ((0, 0), (1, 1), (0, 2)):
        base = random.normal(size=(4, 400))
        windows.append(
            {("train", "fc1"): distribution(base + back), ("train", "fc2"): distribution(base + on)}
            | {(phase, "fc1"): probe(base + back) for phase in ("probe", "probe-batch")}
        )
    return run_of(
        tmp_path_factory.mktemp("path") / "run", windows, sites=[Site(f"fc{i}", "Linear", 1, 4) for i in (1, 2)]
    )


def report(run, phase):
    return path_report(run, trajectory(run, phase=phase), METRICS["w1_sd"])


def test_what_it_says(run):
    lines = shown(report(run, "train"))
    assert words(report(run, "train")).startswith(f"{run.path} · Net · phase train · 3 windows, epoch 1 to epoch 3")
    straight = {line.split()[0]: float(line.split()[5]) for line in lines if line.startswith(" fc")}
    assert straight["fc1"] < 0.2
    assert straight["fc2"] > 0.9
    assert "floor: the same by sampling noise alone, n = 400" in words(report(run, "train"))
    assert report(run, "train").next_step.endswith("--phase probe   (without sampling noise)")


def test_a_probe_has_no_floor_and_says_what_was_in_training_mode(run):
    assert "floor" not in words(report(run, "probe"))
    assert "Batch norm normalises by the batch here" not in words(report(run, "probe"))
    assert "Batch norm normalises by the batch here" in words(report(run, "probe-batch"))
    assert report(run, "probe").data["sites"][0]["site"] == "fc1"


def test_one_unit_is_one_unit(tmp_path):
    still = np.array([[0.0], [1.0], [1.0], [1.0]])
    windows = [
        {("train", "fc1"): distribution(np.random.default_rng(number).normal(size=(4, 400)) * still)}
        for number in range(3)
    ]
    run = run_of(tmp_path / "run", windows, sites=[Site("fc1", "Linear", 1, 4)])
    assert "1 unit that is near-constant in some window is left out." in words(report(run, "train"))
