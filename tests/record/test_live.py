"""Several recorders in one process: one a path, and recordings that span the cells of a notebook."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn

import icshift
from icshift.errors import RecordingError, RunError
from icshift.record import live
from icshift.runs.reader import StoredRun
from tests.warm.starting import python


def step(model, recorder):
    model(torch.ones(16, 4))
    recorder.step()


def test_start_and_close_are_the_with_block(tmp_path):
    model = nn.Linear(4, 2)
    recorder = icshift.Recorder(model, tmp_path / "run").start()
    step(model, recorder)
    recorder.epoch()
    step(model, recorder)
    recorder.close()
    recorder.close()
    assert not model._forward_hooks
    run = StoredRun(tmp_path / "run")
    assert (run.finished, len(run.window_list)) == (True, 2)
    with pytest.raises(RecordingError, match="has been"):
        recorder.start()


@pytest.mark.parametrize("what", ["epoch", "step", "log"])
def test_before_the_start_there_is_nothing_to_end(what, tmp_path):
    recorder = icshift.Recorder(nn.Linear(4, 2), tmp_path / "run")
    with pytest.raises(RecordingError, match="while recording: call this within"):
        getattr(recorder, what)()
    recorder.close()


def test_a_cell_that_is_run_twice_is_refused_or_ends_the_first(tmp_path):
    model = nn.Linear(4, 2)
    first = icshift.Recorder(model, tmp_path / "run")
    first.start()
    step(model, first)
    with pytest.raises(RunError, match="exists and is kept"):
        icshift.Recorder(model, tmp_path / "run")
    second = icshift.Recorder(model, tmp_path / "run", force=True)
    second.start()
    step(model, second)
    first.close()
    second.close()
    assert second.windows == 1
    run = StoredRun(tmp_path / "run")
    assert run.distribution("train", "(model)", 1).count.tolist() == [16, 16], "not 32: one recorder heard it"
    assert run.finished


def test_the_training_may_go_to_another_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(4, 2)
    with icshift.Recorder(model, "run") as recorder:
        step(model, recorder)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        step(model, recorder)
    assert StoredRun(tmp_path / "run").manifest["steps"] == 2
    assert not list((tmp_path / "elsewhere").iterdir())


NEVER_CLOSED = """
import sys, torch
from torch import nn
import icshift
model = nn.Linear(4, 2)
recorder = icshift.Recorder(model, sys.argv[1])
recorder.start()
model(torch.ones(16, 4))
recorder.step()
"""


def test_who_is_never_closed_is_closed_with_the_process(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(NEVER_CLOSED))
    subprocess.run([python(), tmp_path / "train.py", tmp_path / "run"], check=True, env=os.environ)
    run = StoredRun(tmp_path / "run")
    assert run.finished
    assert run.ending.heading == " · never closed"
    assert not run.ending.complete, "whether the training came to its end is not known"
    assert run.manifest["steps"] == 1


def test_what_ended_the_process_is_told_where_it_is_known(tmp_path, monkeypatch):
    model = nn.Linear(4, 2)
    recorder = icshift.Recorder(model, tmp_path / "run").start()
    step(model, recorder)
    monkeypatch.setattr(sys, "last_value", ValueError("theirs"), raising=False)  # As the interpreter, for atexit.
    live._close_all()
    assert StoredRun(tmp_path / "run").ending.heading == " · ended by ValueError"


def test_strict_alone_makes_an_error_of_nothing(tmp_path):
    with pytest.warns(RuntimeWarning, match="nothing was recorded"), icshift.Recorder(nn.Linear(4, 2), tmp_path / "a"):
        pass
    with pytest.raises(RecordingError, match="nothing was recorded"):  # noqa: SIM117
        with icshift.Recorder(nn.Linear(4, 2), tmp_path / "b", strict=True):
            pass
    with pytest.raises(ValueError, match="their own"):  # noqa: SIM117
        with icshift.Recorder(nn.Linear(4, 2), tmp_path / "c", strict=True):
            raise ValueError("their own")
