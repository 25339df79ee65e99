"""Ctrl-C where it is not Python's own business: the shell has it ignored, or a script has a handler of its own."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from icshift.runs import interrupts
from icshift.runs.interrupts import Guard
from tests.warm.starting import python

SCRIPT = """
import os, signal, sys
import torch
from torch import nn
import icshift

assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
model = nn.Linear(2, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with icshift.Recorder(model, sys.argv[1], optimizer=optimizer):
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    for _ in range(3):
        model(torch.ones(4, 2)).sum().backward()
        os.kill(os.getpid(), signal.SIGINT)
        optimizer.step()
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
print("trained to the end")
"""


def test_under_nohup_a_recording_leaves_ctrl_c_ignored(tmp_path):
    command = ["bash", "-c", 'trap "" INT; exec "$@"', "bash", python(), "-c", SCRIPT, str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
    assert (done.returncode, done.stdout) == (0, "trained to the end\n"), done.stderr


@pytest.fixture
def handler():
    """Sets the handler of Ctrl-C for a test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda action: signal.signal(signal.SIGINT, action)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("action", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_no_python_function_is_left_alone(handler, action):
    handler(action)
    interrupts.install()
    try:
        assert signal.getsignal(signal.SIGINT) is action
    finally:
        interrupts.restore()
    assert signal.getsignal(signal.SIGINT) is action


def test_a_handler_waits_for_the_end_of_all_guards_and_comes_back(handler):
    numbers = []

    def note(number, _):
        numbers.append(number)

    handler(note)
    interrupts.install()
    try:
        with Guard():
            with Guard():
                signal.raise_signal(signal.SIGINT)
            assert numbers == []
        assert numbers == [signal.SIGINT]
        signal.raise_signal(signal.SIGINT)
        assert numbers == [signal.SIGINT] * 2
    finally:
        interrupts.restore()
    assert signal.getsignal(signal.SIGINT) is note


def test_a_handler_that_a_script_sets_in_the_meantime_stays(handler):
    handler(lambda *_: None)
    interrupts.install()
    handler(signal.SIG_IGN)
    interrupts.restore()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
