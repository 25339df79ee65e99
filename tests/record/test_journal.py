"""Where a run goes, what is refused, and what a killed process leaves."""

from __future__ import annotations

import signal
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icshift.errors import RunError
from icshift.record import journal as module
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.warm.starting import python


def record(path: Path, rows: int = 5, **options: bool) -> StoredRun:
    with Recorder(nn.Linear(4, 3), path, **options) as recorder:
        recorder.model(torch.randn(rows, 4))
        recorder.step()
    return StoredRun(path)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_a_run_that_is_there_is_kept(tmp_path: Path) -> None:
    record(tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(RunError, match="exists"):
        record(tmp_path / "run")
    assert contents(tmp_path / "run") == before


def test_force_replaces_a_run_and_nothing_of_the_old_one_is_left(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run", window=1) as recorder:
        for _ in range(3):
            model(torch.randn(7, 4))
            recorder.step()
    run = record(tmp_path / "run", force=True)
    assert [window.index for window in run.window_list] == [1]
    assert run.steps()["count"].tolist() == [5] * 3


@pytest.mark.parametrize("what", ["directory", "file", "nested run"])
def test_force_never_deletes_what_is_no_run(what: str, tmp_path: Path) -> None:
    place = tmp_path / "thesis"
    if what == "file":
        place.write_text("chapter")
    else:
        place.mkdir()
        (place / "chapter.txt").write_text("chapter")
    if what == "nested run":
        record(place / "run")
    before = contents(tmp_path)
    with pytest.raises(RunError, match="no icshift run"):
        record(place, force=True)
    assert contents(tmp_path) == before


def test_an_empty_directory_may_be_forced_and_a_missing_parent_is_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError):
        record(tmp_path / "empty")
    assert record(tmp_path / "empty", force=True).finished
    assert record(tmp_path / "deep" / "er" / "run").finished


def test_a_path_that_is_taken_while_the_recorder_waits_is_kept_too(tmp_path: Path) -> None:
    late = Recorder(nn.Linear(4, 3), tmp_path / "run")
    record(tmp_path / "run")
    before = contents(tmp_path)
    with pytest.raises(RunError, match="exists"):
        late.__enter__()
    assert contents(tmp_path) == before


def test_a_run_is_unfinished_until_its_end_and_finished_after_an_error_as_well(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with pytest.raises(ZeroDivisionError), Recorder(model, tmp_path / "run") as recorder:  # noqa: PT012
        model(torch.randn(5, 4))
        recorder.epoch()
        assert not StoredRun(tmp_path / "run").finished
        model(torch.randn(6, 4))
        raise ZeroDivisionError
    run = StoredRun(tmp_path / "run")
    assert run.finished
    assert [run.distribution("train", "(model)", window).count[0] for window in (1, 2)] == [5, 6]


def test_a_run_can_be_read_while_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SNAPSHOT_SHARE", 1e9)
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run") as recorder:
        for step in range(1, 4):
            model(torch.randn(5, 4))
            recorder.step()
            run = StoredRun(tmp_path / "run")
            assert [(window.index, window.closed) for window in run.window_list] == [(1, False)]
            assert run.distribution("train", "(model)", 1).count.tolist() == [5 * step] * 3
            assert sorted(run.steps().step.unique()) == list(range(step))
    run = StoredRun(tmp_path / "run")
    assert [(window.index, window.closed) for window in run.window_list] == [(1, True)]
    assert run.distribution("train", "(model)", 1).count.tolist() == [15] * 3
    assert not list((tmp_path / "run").rglob(".*")), "files being written are left behind"


def test_an_open_window_is_not_written_where_that_would_cost_too_much_not_even_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it stopped the training of a model of many units for a minute."""
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SNAPSHOT_SHARE", 0.0)
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(2):
            model(torch.randn(5, 4))
            recorder.step()
        assert not StoredRun(tmp_path / "run").window_list


@pytest.mark.some(1)
@pytest.mark.parametrize("rows", [40, 200])
def test_when_it_was_flushed_changes_no_step_and_no_window_beyond_its_stated_error(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    monkeypatch.setattr(module, "_SNAPSHOT_SHARE", 1e9)
    for seconds in (1e9, 0.0):
        monkeypatch.setattr(module, "FLUSH_SECONDS", seconds)
        torch.manual_seed(7)
        model = nn.Linear(4, 3)
        with Recorder(model, tmp_path / str(seconds), window=40) as recorder:
            for _ in range(100):
                model(torch.randn(rows, 4))
                recorder.step()
        runs.append(StoredRun(tmp_path / str(seconds)))
    once, often = (run.steps() for run in runs)
    pd.testing.assert_frame_equal(once, often, rtol=1e-5, atol=1e-6)
    for index in (1, 2, 3):
        first, second = (run.distribution("train", "(model)", index) for run in runs)
        assert first.count.tolist() == second.count.tolist()
        assert first.sampled.tolist() == second.sampled.tolist()
        np.testing.assert_allclose(first.mean, second.mean, rtol=1e-5, atol=1e-6)
        distance = np.abs(first.values.astype(float) - second.values).mean(1)
        assert (distance <= first.w1_error + second.w1_error).all()


KILLED = """
import os, signal, sys, torch
from torch import nn
from icshift.record import journal as module
from icshift.record.recorder import Recorder

torch.set_num_threads(1)
module.FLUSH_SECONDS, module._SNAPSHOT_SHARE = 0.0, 1e9
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Recorder(model, sys.argv[1]) as recorder:
    for step in range(10):
        model(torch.randn(5, 4)).sum().backward()
        optimizer.step()
        if step == 5:
            recorder.epoch("whole")
        if step == 8:
            {death}
"""


@pytest.mark.parametrize(
    ("death", "code"),
    [("os._exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL)],
    ids=["os._exit", "SIGKILL"],
)
def test_a_killed_process_leaves_a_readable_unfinished_run(death: str, code: int, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(KILLED).format(death=death))
    done = subprocess.run(
        [python(), script, tmp_path / "run"], check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == code, done.stderr
    run = StoredRun(tmp_path / "run")
    assert not run.finished
    whole = run.window_list[0]
    assert (whole.name, whole.first_step, whole.last_step, whole.closed) == ("whole", 0, 5, True)
    assert run.distribution("train", "0", 1).count.tolist() == [30] * 8
    # What is written after a step may be under way when the next one ends, and no longer.
    (rest,) = run.window_list[1:]
    assert (rest.first_step, rest.closed) == (6, False)
    assert rest.last_step in (7, 8)
    assert sorted(run.steps("train").step.unique())[:8] == list(range(8))
    assert run.distribution("train", "2", 2).count.tolist() == [5 * rest.steps] * 3
    assert [site.name for site in run.sites] == ["0", "2"]


def test_a_missing_run_and_something_else_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        StoredRun(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match="is no icshift run"):
        StoredRun(tmp_path / "other")


def test_a_recording_of_nothing_still_leaves_a_readable_directory(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with pytest.warns(RuntimeWarning, match="nothing was recorded"), Recorder(model, tmp_path / "run"):
        pass
    run = StoredRun(tmp_path / "run")
    assert run.window_list == []
    assert run.steps().empty
