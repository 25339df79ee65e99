"""Windows are told once, when they have ended, with the drift that a report has of them; the run is only read."""

import os
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch

from icshift.analysis.landed import Logged, Lookout, appeared, silent
from icshift.analysis.windows import by_window
from icshift.errors import RunError, SelectionError
from icshift.record.recorder import Recorder
from icshift.runs.format import Site, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.recorded import distribution

SITE = Site("fc", "Linear", axis=1, units=3)


def recording(path, *, force=False, created="2026-01-01"):
    return Recording(path, {"sites": [asdict(SITE)], "created": created}, force=force)


def write(into, index, *, closed=True, first=None, last=None, provisional=False, phase="train"):
    first = 10 * index - 10 if first is None else first
    window = Window(
        index, f"epoch {index}", first, 10 * index - 1 if last is None else last, closed, provisional=provisional
    )
    values = np.random.default_rng(index).normal(index, 1, (3, 200))
    into.write_window(window, {(phase, SITE): distribution(values, steps=10)})
    # The clock of files ticks every few milliseconds: all may be written within one tick.
    os.utime(into.window_file(index), (1e9, 1e9))
    os.utime(into.path / "run.json", (1e9, 1e9))


def names(look):
    return [one.window.name for one in look.landed]


def test_every_window_is_told_once_when_it_has_ended(tmp_path):
    into = recording(tmp_path / "run")
    lookout = Lookout(tmp_path / "run", "w1_sd")
    assert names(lookout.look()) == []
    write(into, 1, closed=False, last=4)
    assert names(lookout.look()) == []
    write(into, 1)
    assert names(lookout.look()) == ["epoch 1"]
    assert lookout.look() is None
    write(into, 2)
    write(into, 3)
    look = lookout.look()
    assert names(look) == ["epoch 2", "epoch 3"]
    assert not look.run.finished
    into.finish({})
    look = lookout.look()
    assert (names(look), look.run.finished) == ([], True)


def test_all_that_was_logged_in_a_window_is_there_as_soon_as_its_file_is(tmp_path, monkeypatch):
    told = []

    class Looked(Recording):
        def write_window(self, window, distributions):
            super().write_window(window, distributions)
            told.extend(one.logged for one in lookout.look().landed)

    monkeypatch.setattr("icshift.record.beginning.Recording", Looked)
    lookout = Lookout(tmp_path / "run", "w1_sd")
    model = torch.nn.Linear(2, 3)
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(3):
            for step in range(4):
                model(torch.ones(5, 2)).sum().backward()
                recorder.step()
                recorder.log(loss=step)
            recorder.epoch()
    assert told == [(Logged("loss", 1.5, 4),)] * 3


def test_a_windows_drift_is_that_of_the_report(with_batch_norm):
    run = StoredRun(with_batch_norm)
    first, *others = Lookout(with_batch_norm, "w1").look().landed
    assert first.sites.empty
    table = by_window(run, metric_name="w1")
    for one in others:
        expected = table[table["window"] == one.window.index].reset_index(drop=True)
        pd.testing.assert_frame_equal(one.sites, expected)
        assert one.phase == "train"


def test_a_windows_numbers_are_the_means_of_its_own(tmp_path):
    into = recording(tmp_path / "run")
    write(into, 1)
    write(into, 2)
    rows = [{"step": step, "window": 1 + step // 10, "name": "loss", "value": float(step)} for step in range(20)]
    into.append_measured("logged", rows)
    into.flush()
    first, second = Lookout(tmp_path / "run", "w1_sd").look().landed
    assert [(one.name, one.mean, one.n) for one in first.logged] == [("loss", 4.5, 10)]
    assert [(one.name, one.mean, one.n) for one in second.logged] == [("loss", 14.5, 10)]


def test_windows_that_are_joined_are_told_no_second_time(tmp_path):
    into = recording(tmp_path / "run")
    lookout = Lookout(tmp_path / "run", "w1_sd")
    for index in (1, 2):
        write(into, index, first=index - 1, last=index - 1, provisional=True)
    assert len(lookout.look().landed) == 2
    write(into, 1, first=0, last=1, provisional=True)
    into.delete_windows(2)
    assert names(lookout.look()) == []
    write(into, 2, first=2, last=3, provisional=True)
    assert [one.window.first_step for one in lookout.look().landed] == [2]


def test_a_run_that_begins_anew_is_told_from_its_beginning(tmp_path):
    write(recording(tmp_path / "run"), 1)
    lookout = Lookout(tmp_path / "run", "w1_sd")
    assert names(lookout.look()) == ["epoch 1"]
    write(recording(tmp_path / "run", force=True, created="2026-01-02"), 1)
    assert names(lookout.look()) == ["epoch 1"]


def test_a_window_without_the_phase_says_so_and_is_compared_with_nothing(tmp_path):
    into = recording(tmp_path / "run")
    for index, phase in ((1, "train"), (2, "eval"), (3, "train")):
        write(into, index, phase=phase)
    first, second, third = Lookout(tmp_path / "run", "w1_sd", "train").look().landed
    assert [one.phase for one in (first, second, third)] == ["train", "", "train"]
    assert second.sites.empty
    assert third.sites["reference"].tolist() == ["epoch 1"]


def test_only_a_window_and_the_one_before_it_are_read(tmp_path):
    into = recording(tmp_path / "run")
    lookout = Lookout(tmp_path / "run", "w1_sd")
    for index in range(1, 6):
        write(into, index)
        look = lookout.look()
    assert sorted({*look.run._loaded, *look.run._asked}) == [4, 5]


def test_looking_writes_nothing(two_windows):
    def stamps():
        return {path: path.stat().st_mtime_ns for path in [two_windows, *two_windows.rglob("*")]}

    before = stamps()
    Lookout(two_windows, "w1_sd").look()
    assert stamps() == before


@pytest.mark.parametrize(
    ("asked", "expected"), [({"metric": "w9"}, "no metric"), ({"metric": "w1", "sites": ["fc9"]}, "no site 'fc9'")]
)
def test_what_is_not_there_is_said(asked, expected, two_windows):
    with pytest.raises(SelectionError, match=expected):
        Lookout(two_windows, **asked).look()


def test_a_run_appears(tmp_path):
    path = tmp_path / "runs" / "a"
    assert appeared(path) is None
    path.mkdir(parents=True)
    assert appeared(path) is None
    recording(path / "model")
    assert appeared(path) == path / "model"
    assert appeared(path / "model") == path / "model"
    recording(path / "other")
    with pytest.raises(RunError, match="holds 2 runs"):
        appeared(path)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="no icshift run"):
        appeared(tmp_path / "file")


def test_how_long_a_run_is_silent(tmp_path):
    write(recording(tmp_path / "run"), 1)
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert silent(tmp_path / "run") > 3e8
    (tmp_path / "run" / "run.json").touch()
    assert silent(tmp_path / "run") < 3600
