"""Listening to calls while optimizers are waited for, and what that is for: `icshift run --resume`.

By it a script that is stopped and started again goes on in its run.
"""

import gc
import signal
import subprocess
import textwrap
import time

import pytest
import torch
from torch import nn

from icshift.launch.waiting import Waiting
from icshift.runs.reader import StoredRun
from tests import laws
from tests.warm.starting import icshift as program

pytestmark = pytest.mark.usefixtures("bound")

SCRIPT = """
import os, sys, torch
from pathlib import Path
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
other = nn.Linear(4, 2)
optimizer, adam = torch.optim.SGD(model.parameters(), lr=0.1), torch.optim.Adam(other.parameters())
data = DataLoader(TensorDataset(torch.linspace(-1, 1, 160).reshape(40, 4)), batch_size=10)
checkpoint, last, stop = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
first = 0
if checkpoint.exists():
    saved = torch.load(checkpoint)
    model.load_state_dict(saved["model"])
    other.load_state_dict(saved["other"])
    adam.load_state_dict(saved["adam"])
    first = saved["epoch"]
for epoch in range(first, last):
    for (batch,) in data:
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        adam.zero_grad()
        other(batch).square().mean().backward()
        adam.step()
    states = {"model": model.state_dict(), "other": other.state_dict(), "adam": adam.state_dict()}
    torch.save({**states, "epoch": epoch + 1}, checkpoint)
if stop != "no":
    model(next(iter(data))[0]).sum().backward()
    Path(stop).touch()
    while True:
        pass
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "train.py").write_text(textwrap.dedent(SCRIPT))

    def run(output, checkpoint, last, *options, stop="no", quiet=True):
        words = ["run", *(["-q"] if quiet else []), "-o", output, *options, "train.py", checkpoint, str(last), stop]
        return subprocess.Popen(
            [program(), *words],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


@pytest.mark.usefixtures("interruptible")
def test_a_killed_script_goes_on_in_its_run(run, tmp_path):
    killed = run("runs", "saved.pt", 3, stop="reached")
    while not (tmp_path / "reached").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGINT)
    killed.wait()
    (tmp_path / "reached").unlink()
    before = StoredRun(tmp_path / "runs" / "model")
    assert before.ending.interrupted["by"] == "KeyboardInterrupt"
    refused = run("runs", "saved.pt", 5)
    assert "go on with it by --resume" in " ".join(refused.communicate()[1].split())
    assert refused.returncode == 2
    assert run("runs", "saved.pt", 5, "--resume").wait() == 0
    assert run("whole", "other.pt", 5).wait() == 0
    for model in ("model", "other"):
        resumed, whole = (StoredRun(tmp_path / name / model) for name in ("runs", "whole"))
        assert resumed.finished
        assert [(w.first_step, w.last_step) for w in resumed.window_list] == [
            (w.first_step, w.last_step) for w in whole.window_list
        ]
        for window in whole.window_list:
            for site in whole.sites:
                found, expected = (each.distribution("train", site.name, window.index) for each in (resumed, whole))
                laws.assert_identical(found, expected)


def test_a_script_without_its_checkpoint_leaves_the_run_as_it_is(run, tmp_path):
    assert run("runs", "saved.pt", 3).wait() == 0
    before = {file: file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()}
    (tmp_path / "saved.pt").unlink()
    done = run("runs", "saved.pt", 2, "--resume")
    told = done.communicate()[1]
    assert done.returncode == 0
    assert "came to its end after 12 steps" in " ".join(told.split())
    assert before == {file: file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()}


def test_a_run_that_cannot_be_gone_on_with_is_not_told_as_recorded(run, tmp_path):
    assert run("runs", "saved.pt", 3).wait() == 0
    checkpoint = (tmp_path / "saved.pt").read_bytes()
    refused = run("runs", "saved.pt", 5, "--resume", "--window", "3", quiet=False).communicate()[1]
    assert "is not recorded:" in refused
    assert "Recorded in" not in refused
    (tmp_path / "saved.pt").write_bytes(checkpoint)
    assert "Recorded in" in run("runs", "saved.pt", 5, "--resume", quiet=False).communicate()[1]


class Optimizer:
    """Anything that can be referred to weakly."""


@pytest.fixture
def called():
    return []


@pytest.fixture
def waiting(called):
    listening = Waiting(lambda module, _: called.append(module))
    yield listening
    listening.close()


def test_calls_are_told_until_every_optimizer_is_ready(waiting, called):
    layer, one, other = nn.Linear(2, 1), Optimizer(), Optimizer()
    layer(torch.ones(1, 2))
    waiting.add(one)
    waiting.add(other)
    layer(torch.ones(1, 2))
    waiting.ready(one)
    layer(torch.ones(1, 2))
    assert called == [layer, layer]
    waiting.ready(other)
    layer(torch.ones(1, 2))
    assert called == [layer, layer]


def test_an_optimizer_that_is_gone_is_waited_for_no_more(waiting, called):
    waiting.add(Optimizer())
    gc.collect()
    nn.Linear(2, 1)(torch.ones(1, 2))
    assert called == []
