"""What an interruption costs is measured without a trace, or not told."""

import gc
import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo import convert_frame

from icshift.hooks.stopwatch import Stopwatch
from icshift.record import interruption
from icshift.record.interruption import beside, note_beside


@pytest.fixture(autouse=True)
def unknown(monkeypatch):
    monkeypatch.setattr(interruption, "_costs", None)
    monkeypatch.setattr(interruption, "clock", itertools.count().__next__)  # Each look at it takes a second.
    monkeypatch.setattr(convert_frame, "FRAME_COUNTER", 0)  # Another test may have compiled something.


def test_it_is_measured_once():
    found = beside(0.0)
    assert found.block > 0
    assert found.touch > 0
    assert beside(0.0) == found


def test_others_on_the_machine_do_not_count(monkeypatch):
    """One look at the clock in 20 comes late: such stretches made what was told a hundred times as much."""
    quiet = beside(1e9)
    monkeypatch.setattr(interruption, "_costs", None)
    draw = random.Random(3)
    ticks = itertools.accumulate(1000 if draw.random() < 1 / 20 else 1 for _ in itertools.count())
    monkeypatch.setattr(interruption, "clock", ticks.__next__)
    assert beside(1e9) == quiet


def test_it_draws_nothing_and_leaves_nothing():
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    watch = Stopwatch()
    with watch:
        assert beside(0.0) is not None
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())
    assert watch.blocks == 1
    assert torch.is_grad_enabled()


def test_settings_of_the_compiler_are_what_they_were_at_once():
    """A recording's own are given back as it ends, and not when somebody collects what was measured beside it."""
    gc.collect()
    gc.disable()
    try:
        assert beside(0.0) is not None
        assert torch._dynamo.config.skip_nnmodule_hook_guards
    finally:
        gc.enable()


def states():
    """What a script may have set when its training ends."""
    yield "no gradients", torch.no_grad
    yield "inference", torch.inference_mode
    yield "half precision", lambda: torch.autocast("cpu", torch.bfloat16)
    yield "another device", lambda: torch.device("meta")


@pytest.mark.parametrize("state", [pytest.param(state, id=name) for name, state in states()])
def test_it_is_measured_whatever_state_pytorch_is_in(state):
    with state():
        assert beside(0.0) is not None


def test_it_is_unknown_where_other_hooks_would_see_it():
    seen = []
    handle = nn.modules.module.register_module_forward_hook(lambda *seeing: seen.append(seeing))
    try:
        assert beside(0.0) is None
    finally:
        handle.remove()
    assert not seen


def test_it_is_unknown_once_anything_was_compiled_whatever_was_measured_before(monkeypatch):
    assert beside(0.0) is not None
    monkeypatch.setattr(convert_frame, "FRAME_COUNTER", 1)
    assert beside(0.0) is None


def test_it_is_unknown_where_a_training_with_hooks_takes_no_longer(monkeypatch):
    monkeypatch.setattr(interruption, "clock", lambda: 1.0)
    watch = Stopwatch()
    note_beside(watch, 0.0)
    assert watch.beside is None
    assert watch.overhead(0.0)["at_least"] is True
