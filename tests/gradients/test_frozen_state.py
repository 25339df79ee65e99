"""A frozen state is back within its block, and all is as it was after it."""

from __future__ import annotations

import random
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icshift.gradients.frozen_state import FrozenState


class Counts(nn.Module):
    """Has every kind of state that is no parameter: a buffer, a number, a list, and a mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.number = 0
        self.seen: list[int] = []

    def forward(self) -> Tensor:
        self.calls += 1
        self.number += 1
        self.seen.append(self.number)
        return self.calls


def state_of(model: Counts) -> tuple[float, int, list[int]]:
    return float(model.calls), model.number, list(model.seen)


def draws() -> tuple[float, float, float]:
    return float(torch.rand(())), random.random(), float(np.random.rand())


def test_buffers_attributes_and_lists_are_those_of_the_snapshot_within_only() -> None:
    model = Counts()
    model()
    frozen = FrozenState(model)
    model()
    model()
    seen = model.seen
    for _ in range(2):
        with frozen.restored():
            assert state_of(model) == (1, 1, [1])
            model()
            assert state_of(model) == (2, 2, [1, 2])
        assert state_of(model) == (3, 3, [1, 2, 3])
        assert model.seen is seen


def test_draws_within_are_always_the_same_and_those_outside_go_on() -> None:
    frozen = FrozenState(Counts())
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    with frozen.restored():
        first = draws()
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))
    assert draws() == first  # The snapshot was taken just before.
    with frozen.restored():
        assert draws() == first
        assert draws() != first


def test_the_mode_is_the_callers_and_comes_back() -> None:
    model = Counts()
    frozen = FrozenState(model)
    model.eval()
    with frozen.restored():
        assert not model.training
        model.train()
    assert not model.training


def test_all_is_back_after_an_error_too() -> None:
    model = Counts()
    frozen = FrozenState(model)
    model()
    before = torch.get_rng_state()

    def fail() -> None:
        with frozen.restored():
            model()
            draws()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fail()
    assert state_of(model) == (1, 1, [1])
    assert torch.equal(before, torch.get_rng_state())


def test_other_models_are_found_at_their_first_call_and_are_then_kept() -> None:
    model, other, unused = Counts(), Counts(), Counts()
    other()
    frozen = FrozenState(model)
    with frozen.restored():
        model()
        other()
        other()
    assert frozen.others == [other]
    assert state_of(other) == (1, 1, [1])
    other()
    with frozen.restored():
        assert state_of(other) == (1, 1, [1])
        unused()
    assert state_of(other) == (2, 2, [1, 2])
    assert frozen.others == [other]  # Looked for in the first block only.


def test_models_of_other_threads_and_parts_of_this_one_are_no_others() -> None:
    part, foreign = Counts(), Counts()
    model = nn.ModuleDict({"part": part})
    frozen = FrozenState(model)
    with frozen.restored():
        part()
        thread = threading.Thread(target=foreign)
        thread.start()
        thread.join()
    assert frozen.others == []
    assert state_of(foreign) == (1, 1, [1])


def test_a_buffer_that_has_grown_has_the_size_of_the_snapshot_within() -> None:
    model = Counts()
    frozen = FrozenState(model)
    model.calls.resize_(3).fill_(7)
    with frozen.restored():
        assert model.calls.tolist() == [0]
    assert model.calls.tolist() == [7, 7, 7]


def test_no_hook_and_no_filter_for_warnings_remains() -> None:
    filters = list(warnings.filters)
    frozen = FrozenState(Counts())
    with frozen.restored():
        assert warnings.filters != filters
    assert warnings.filters == filters
    late = Counts()
    late()
    assert frozen.others == []


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("inside", [False, True])
def test_autocast_is_that_of_the_snapshot(inside: bool, outside: bool) -> None:
    model = nn.Linear(2, 2)
    with torch.autocast("cpu", torch.bfloat16, enabled=inside):
        frozen = FrozenState(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=outside):
        with frozen.restored():
            assert torch.is_autocast_enabled("cpu") == inside
            assert model(torch.ones(1, 2)).dtype == (torch.bfloat16 if inside else torch.float32)
        assert torch.is_autocast_enabled("cpu") == outside
