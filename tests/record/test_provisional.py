"""Windows of equal length whatever the length of a run, and what holds of them after any number of joinings."""

import os
import signal
import subprocess
import textwrap

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from icshift.record import journal, provisional
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.covering import often
from tests.warm.starting import python


def record(path, steps, rows=5, **options):
    torch.manual_seed(3)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    seen, weights = [], [model.weight.detach().clone()]
    with Recorder(model, path, window="auto", optimizer=optimizer, **options) as recorder:
        for step in range(steps):
            output = model(torch.randn(rows, 4))
            seen.append(output.detach().numpy())
            output.square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            weights.append(torch.cat([model.weight.detach(), model.bias.detach()[:, None]], 1))
            recorder.log(step=step)
    weights[0] = weights[1]
    return StoredRun(path), seen, weights


def held(run):
    """How many activations each window holds."""
    return [int(run.distribution("train", "(model)", window.index).count[0]) for window in run.window_list]


@pytest.mark.some(4)
@pytest.mark.covering(1)
@pytest.mark.parametrize("where", ["in memory", "on disk"])
@pytest.mark.parametrize(
    ("steps", "length", "windows"),
    [(1, 1, 1), (2, 1, 2), (19, 1, 19), (20, 1, 20), (21, 2, 11), (79, 4, 20), (81, 8, 11), (333, 32, 11)],
)
def test_a_run_of_any_length_has_10_to_20_windows(steps, length, windows, where, tmp_path, monkeypatch):
    if where == "on disk":
        monkeypatch.setattr(provisional, "_HELD_UNITS", 0)
    run, seen, weights = record(tmp_path / "run", steps)
    spans = [(window.first_step, window.last_step) for window in run.window_list]
    assert spans == [(first, min(first + length, steps) - 1) for first in range(0, steps, length)]
    assert len(spans) == windows
    assert [(window.index, window.name) for window in run.window_list] == [(n, str(n)) for n in range(1, windows + 1)]
    assert held(run) == [5 * (last - first + 1) for first, last in spans]
    logged = run.logged()
    for window, (first, last) in zip(run.window_list, spans, strict=True):
        part = run.distribution("train", "(model)", window.index)
        own = np.concatenate(seen[first : last + 1])
        np.testing.assert_allclose(part.mean, own.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(part.min, own.min(0))
        assert window.seen("train").examples == len(own)
        assert logged.loc[logged["window"] == window.index, "value"].tolist() == list(range(first, last + 1))
        if first:
            went = float((weights[last + 1].double() - weights[first].double()).norm())
            assert window.parameter_change == pytest.approx(went, rel=1e-5)
    assert sorted(run.steps()["step"].unique()) == list(range(steps))


def test_a_window_without_a_forward_goes_on(tmp_path):
    """Trained by its `forward`, and called to predict alone: where nothing is seen no window ends."""
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with Recorder(model, tmp_path / "run", window="auto", optimizer=optimizer):
        for step in range(60):
            optimizer.zero_grad()
            model.forward(torch.ones(5, 4)).sum().backward()
            optimizer.step()
            if step % 15 == 14:
                model.eval()
                model(torch.ones(5, 4))
                model.train()
    run = StoredRun(tmp_path / "run")
    assert run.manifest["unheard_steps"] == 60
    assert [(window.first_step, window.last_step) for window in run.window_list] == [
        (n, n + 14) for n in (0, 15, 30, 45)
    ]
    assert [int(run.distribution("eval", "(model)", window.index).count[0]) for window in run.window_list] == [5] * 4


@pytest.mark.thorough
def test_blocks_are_of_equally_many_steps(tmp_path):
    run, *_ = record(tmp_path / "run", 700)
    for window in run.window_list[:-1]:
        blocks = run.distribution("train", "(model)", window.index).blocks
        assert set(blocks.steps.tolist()) == {4}
        assert blocks.sampled.sum(1).tolist() == [64 * 5] * 3


@pytest.mark.thorough
def test_the_stated_error_holds_after_many_joinings(tmp_path):
    run, seen, _ = record(tmp_path / "run", 1500, rows=30)
    assert run.window_list[0].last_step == 127  # joined seven times
    for window in run.window_list:
        part = run.distribution("train", "(model)", window.index)
        own = np.concatenate(seen[window.first_step : window.last_step + 1])
        truth = [wasserstein_distance(a, b) for a, b in zip(own.T, part.values, strict=True)]
        assert (truth <= part.w1_error + 1e-6).all()
        assert (part.w1_error < 0.06 * part.std).all()


def test_with_the_first_epoch_they_are_the_one_window_that_they_are(tmp_path):
    windows = []
    for length in ("auto", None):
        torch.manual_seed(3)
        model = nn.Linear(4, 3)
        with Recorder(model, tmp_path / str(length), window=length) as recorder:
            for _ in range(3):
                for _ in range(37):
                    model(torch.randn(5, 4))
                    recorder.step()
                recorder.epoch()
        run = StoredRun(tmp_path / str(length))
        assert [(window.first_step, window.last_step) for window in run.window_list] == [(0, 36), (37, 73), (74, 110)]
        assert not any(window.provisional for window in run.window_list)
        windows.append([run.distribution("train", "(model)", window.index) for window in run.window_list])
        assert [window.inputs for window in run.window_list]
    for found, expected in zip(*windows, strict=True):
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
        np.testing.assert_array_equal(found.blocks.steps, expected.blocks.steps)
        np.testing.assert_allclose(found.blocks.slices, expected.blocks.slices, rtol=1e-5, atol=1e-6)


@pytest.mark.some(1)
@pytest.mark.parametrize("steps", [10, 45, pytest.param(130, marks=pytest.mark.thorough)])
def test_whenever_it_is_read_every_step_is_there_once(steps, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(journal, "_SNAPSHOT_SHARE", 1e9)
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run", window="auto") as recorder:
        for step in range(1, steps + 1):
            model(torch.randn(5, 4))
            recorder.step()
            assert sum(held(StoredRun(tmp_path / "run"))) == 5 * step


def test_between_any_two_files_of_a_joining_every_step_is_there_once(tmp_path, monkeypatch):
    """What a process leaves that is killed there, and what is read while it goes on."""
    monkeypatch.setattr(provisional, "_HELD_UNITS", 0)
    found = []
    write, delete = Recording.write_window, Recording.delete_windows

    def looked_at(change):
        def changed(recording, *arguments):
            change(recording, *arguments)
            run = StoredRun(recording.path)
            if not run.sites:
                return
            found.append(sum(held(run)))
            assert len({window.index for window in run.window_list}) == len(run.window_list)

        return changed

    monkeypatch.setattr(Recording, "write_window", looked_at(write))
    monkeypatch.setattr(Recording, "delete_windows", looked_at(delete))
    steps = often(50, 90)
    record(tmp_path / "run", steps)
    assert found == sorted(found)
    kept = (*range(1, 21), *range(22, 41, 2), *range(44, min(steps, 80) + 1, 4), *often((50,), (88, 90)))
    assert set(found) == {5 * step for step in kept}


KILLED = """
import os, signal, sys, torch
from torch import nn
from icshift.record import provisional
from icshift.record.recorder import Recorder
from icshift.runs.writer import Recording

torch.set_num_threads(1)
provisional._HELD_UNITS = 0
write, written = Recording.write_window, []
def killing(recording, window, distributions):
    write(recording, window, distributions)
    recording.settle()
    written.append(window)
    if len(written) == 24:  # 20 windows of one step, and four of the ten that are joined of these
        os.kill(os.getpid(), signal.SIGKILL)
Recording.write_window = killing
model = nn.Linear(4, 3)
with Recorder(model, sys.argv[1], window="auto") as recorder:
    for step in range(30):
        model(torch.randn(5, 4))
        recorder.step()
"""


def test_a_process_killed_in_the_middle_of_a_joining_leaves_every_window(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(KILLED))
    done = subprocess.run([python(), script, tmp_path / "run"], check=False, env=os.environ, timeout=600)
    assert done.returncode == -signal.SIGKILL
    run = StoredRun(tmp_path / "run")
    assert not run.finished
    assert held(run) == [10] * 4 + [5] * 12
    assert [window.first_step for window in run.window_list] == [0, 2, 4, 6, *range(8, 20)]
