"""Forwards that are as those before begin and end without Python of ours; a step then calls few functions."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import icshift
from icshift import kernel_choice
from icshift.record.recorder import Recorder
from icshift.record.steady import Steady

pytestmark = pytest.mark.skipif(not kernel_choice.uses_native(), reason="the native kernel is not in use")

X = torch.linspace(-1, 1, 48).reshape(12, 4)


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2))


def _steps(model: nn.Module, optimizer: torch.optim.Optimizer, many: int, x: Any = X) -> None:
    for _ in range(many):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


def _calls(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Functions of Python of ours that eight steps call."""
    calls = 0

    def count(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and "/icshift/" in frame.f_code.co_filename.replace("\\", "/")

    sys.setprofile(count)
    try:
        _steps(model, optimizer, 8)
    finally:
        sys.setprofile(None)
    return calls


def test_a_step_as_those_before_calls_few_functions(tmp_path: Path) -> None:
    """Two hooks of layers, one as the model's call begins and one as it ends, and the end of the step."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        _steps(model, optimizer, 20)
        assert _calls(model, optimizer) <= 8 * 45


def test_none_goes_the_long_way_while_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, long = _model(), []
    began = Steady._began_again
    monkeypatch.setattr(Steady, "_began_again", lambda self, *given: long.append(given) or began(self, *given))  # type: ignore[func-returns-value]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer) as recorder:
        _steps(model, optimizer, 20)
        long.clear()
        _steps(model, optimizer, 50)
        assert long == []
        model.eval()
        model(X)
        model.train()
        _steps(model, optimizer, 1, X[:5])
        _steps(model, optimizer, 3)
        assert recorder.steps == 74
    window = icshift.open(tmp_path / "run").window_list[0]
    assert {phase: seen.examples for phase, seen in window.inputs.items() if seen} == {"train": 73 * 12 + 5, "eval": 12}


def test_forwards_of_another_thread_are_its_own(tmp_path: Path) -> None:
    """What one thread began does not go on in another, and each is recorded."""
    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer) as recorder:
        for _ in range(3):
            _steps(model, optimizer, 10)
            thread = threading.Thread(target=_steps, args=(model, optimizer, 10))
            thread.start()
            thread.join()
        assert recorder.steps == 60
    run = icshift.open(tmp_path / "run")
    assert run.distribution("train", "0", 1).count.tolist() == [720] * 3


def test_copies_of_a_recorded_model_have_none_of_it(tmp_path: Path) -> None:

    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        _steps(model, optimizer, 12)
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            other(X)
    assert icshift.open(tmp_path / "run").distribution("train", "0", 1).count.tolist() == [144] * 3


def test_a_model_is_let_go_when_its_recording_has_ended(tmp_path: Path) -> None:

    model = _model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        _steps(model, optimizer, 12)
    gone = weakref.ref(model)
    del model, optimizer
    gc.collect()
    assert gone() is None
