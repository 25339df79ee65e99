"""The same by the real recorder, report and check: they say what the trials without a run on disk say."""

import re

import numpy as np
import pytest
import torch
from torch import nn

import icshift
from icshift.analysis.drift import movements
from icshift.analysis.outcome import outcome
from icshift.analysis.windows import as_of
from icshift.cli.main import _run
from tests.calibration import streams
from tests.calibration.cases import Case
from tests.calibration.networks import NETWORKS, network
from tests.calibration.trials import at_most, judged, record
from tests.covering import often

TRIALS = often(8, 20)

MOVED, BEYOND_FLOOR = "moved > 0", "w1_sd > 3x floor"


def check(path, condition, *options):
    return _run(["check", str(path), "--fail-on", condition, "--quiet", *options])


def said(path, capsys, *options):
    capsys.readouterr()
    assert _run(["report", str(path), *options]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.some(2)
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_run_says_what_a_trial_without_one_says(kind, tmp_path):
    case = Case("recorded", streams.fresh, (40, 12))
    windows = case.windows(kind, 0)
    run = record(tmp_path / "run", network(kind, 0), windows, samples="all")
    trial, recorded = judged(network(kind, 0), windows), movements(run)[2]
    assert set(trial.p) == set(recorded.p)
    assert len(trial.p) >= 2
    assert recorded.p == pytest.approx(trial.p)
    assert recorded.dependence.first == pytest.approx(trial.dependence.first, abs=1e-3, nan_ok=True)
    for name, moved in trial.moved.items():
        np.testing.assert_array_equal(recorded.moved[name], moved)


def test_reports_of_frozen_networks_show_nothing(tmp_path, capsys):
    """In reports as they are by default: 64 values a unit and step."""
    wrong = trials = 0
    for case in (Case("reports", streams.fresh, (17, 17)), Case("reports", streams.shuffled_within_class, (16, 16))):
        for kind in NETWORKS:
            path = tmp_path / case.stream.__name__ / kind
            run = record(path, network(kind, 1), case.windows(kind, 1))
            result, trials = outcome(run), trials + 1
            words = said(path, capsys)
            if result.unknown:
                assert "cannot be told: steps depend on each other" in words
                continue
            assert ("Moved beyond noise" in words) == bool(result.moved)
            assert re.search(r"No evidence that any of \d+ sites moved beyond noise", words) or result.moved
            wrong += check(path, MOVED)
            assert check(path, BEYOND_FLOOR) == 0
    assert wrong <= at_most(0.05, trials)


@pytest.mark.parametrize(
    "case",
    [Case("told", streams.autoregressive, (64, 64)), Case("told", streams.sorted_out_of_step)],
    ids=lambda case: case.stream.__name__,
)
def test_steps_that_depend_on_each_other_are_told_and_pass_no_check(case, tmp_path, capsys):
    path = tmp_path / "run"
    run = record(path, network("MLP", 0), case.windows("MLP", 0))
    result = outcome(run)
    assert not result.moved
    assert not result.still
    assert not result.since
    assert list(result.unknown) == ["steps depend on each other"]
    words = said(path, capsys)
    assert "Whether any of 4 sites moved cannot be told: steps depend on each other (neighbouring" in words
    assert "Noise is larger than the floor, so that a site has to drift 6 times as far." in words
    assert check(path, MOVED) == check(path, BEYOND_FLOOR) == 1


def test_too_few_steps_are_told_and_pass_no_check(tmp_path, capsys):
    path = tmp_path / "run"
    run = record(path, network("GRU", 0), Case("few", streams.fresh, (20, 5)).windows("GRU", 0))
    assert list(outcome(run).unknown) == ["a window of 5 steps: it takes 6"]
    assert "cannot be told: a window of 5 steps: it takes 6" in said(path, capsys)
    assert check(path, MOVED) == check(path, BEYOND_FLOOR) == 1


def test_a_reference_of_another_length_by_its_name(tmp_path):
    case = Case("named", streams.fresh, (40, 40, 12), (16, 16, 16))
    path = tmp_path / "run"
    run = record(path, network("conv", 0), case.windows("conv", 0))
    result = movements(run, reference="1")
    assert list(result) == [2, 3]
    assert not result[3].unknown
    assert set(result[3].p) == set(result[2].p)
    assert check(path, MOVED, "--reference", "1") == 0


def test_the_probe_of_a_frozen_network_is_exactly_still(tmp_path):
    for kind in NETWORKS:
        windows = Case("probe", streams.autoregressive, (6, 6)).windows(kind, 0)
        probe = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
        run = record(tmp_path / kind, network(kind, 0), windows, probe=probe)
        drift = run.drift(["w1", "w2", "ks", "displacement"], phase="probe")
        assert len(drift) > 50
        assert (drift["value"] == 0).all()
        assert not drift["moved"].any()
        assert check(tmp_path / kind, "w1 > 0", "--phase", "probe") == 0


def shift_first_layer(model, number, windows, by=0.5):
    if number in windows:
        with torch.no_grad():
            model[0].bias += by


def tiny(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 6))


@pytest.mark.thorough
def test_since_when_is_right_in_95_of_100_runs(tmp_path):
    """The first layer moves from window to window up to the third, and after the sixth; in between it stands still."""
    early = trials = 0
    for trial in range(TRIALS):
        case = Case("since", streams.fresh, (12,) * 8, (16,) * 8)
        run = record(
            tmp_path / str(trial),
            tiny(trial),
            case.windows("MLP", trial),
            change=lambda model, number: shift_first_layer(model, number, (2, 3, 7, 8)),
        )
        result = outcome(run)
        if result.unknown:
            continue
        trials += 1
        assert "0" in result.moved
        early += result.since not in ("7", "8")
    assert trials >= 0.85 * TRIALS
    assert early <= at_most(0.05, trials)


@pytest.mark.thorough
def test_what_moved_early_is_not_said_of_late_windows(tmp_path):
    late = 0
    for trial in range(TRIALS):
        case = Case("early", streams.fresh, (12,) * 5, (16,) * 5)
        run = record(
            tmp_path / str(trial),
            tiny(trial),
            case.windows("MLP", trial),
            change=lambda model, number: shift_first_layer(model, number, (2, 3)),
        )
        result = outcome(run)
        late += bool(result.moved) or bool(result.since)
        assert movements(run, windows=[2])[2].called or movements(run, windows=[2])[2].unknown
    assert late <= at_most(0.05, TRIALS)


def test_all_windows_together_are_held_to_the_level_of_one(tmp_path):
    """A frozen network of ten windows fails `moved > 0` with --window all in at most 5 of 100 runs.

    What a report of the worst window says is held to the same level.
    """
    failed = trials = 0
    for trial in range(often(5, 15)):
        case = Case("ten windows", streams.fresh, (20,) * 10, (8,) * 10)
        path = tmp_path / str(trial)
        run = record(path, tiny(trial), case.windows("MLP", trial))
        known = {index: result for index, result in movements(run).items() if not result.unknown}
        level = 0.05 / 9
        trials += 1
        failed += any(p <= level for result in known.values() for p in result.p.values())
        worst = as_of(run, "worst")
        assert worst.searched == 9
        said = outcome(worst.run, level=worst.level)
        last = worst.run.window_list[-1].index
        assert bool(said.moved) == (last in known and any(p <= level for p in known[last].p.values()))
        if len(known) == 9:
            verdict = check(path, MOVED, "--window", "all")
            assert verdict == any(p <= level for result in known.values() for p in result.p.values())
        else:
            assert check(path, MOVED, "--window", "all") == 1
    assert failed <= at_most(0.05, trials)


def test_ordinary_training_that_oscillates_is_seen_to_move(tmp_path):
    """SGD goes to and fro from step to step: the floor must not grow by that, with odd numbers of steps too."""
    from tests.zoo.digits import digits

    images, classes = digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizer, probe=images[:256]) as recorder:
        for _ in range(6):
            for batch in torch.randperm(len(images)).split(60)[:29]:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
                optimizer.step()
            recorder.epoch()
    run = icshift.open(tmp_path / "run")
    probe = run.drift(phase="probe").groupby("window")["value"].median()
    assert (probe > 0.05).all()
    found = movements(run)
    known = [result for result in found.values() if not result.unknown]
    assert known
    assert all(result.called for result in known)
    drift = run.drift()
    told = drift[drift["moved"].notna()]
    assert told["moved"].mean() > 0.5
    ratio = drift.groupby("window")["ratio"].median()
    assert (ratio > 1.5).all()
