"""Where forwards begin and end, and which call of a module it is."""

import threading

import pytest
import torch
from torch import nn

from icshift.hooks.calls import Calls


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.part = nn.Linear(2, 2)

    def forward(self, x):
        return self.part(self.part(x))


def followed(model, calls, log):
    """A model whose calls are followed, and whose sites and ends of forwards are written down."""
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda module, _: calls.enter(module, model), prepend=True)
        if name:
            module.register_forward_hook(lambda *_, name=name: log.append(calls.site(name, "")))
        module.register_forward_hook(
            lambda module, *_: log.append("end") if calls.leave(module) else None, always_call=True
        )
    return model


def test_calls_within_a_forward_are_numbered_from_the_second_on():
    model, log = Twice(), []
    followed(model, Calls(), log)
    for _ in range(2):
        model(torch.ones(1, 2))
    assert log == ["part", "part#2", "end"] * 2


def test_parts_of_an_output_are_counted_one_by_one():
    calls = Calls()
    calls.enter(model := Twice(), model)
    assert [calls.site("part", suffix) for suffix in ("[0]", "[1]", "[0]")] == ["part[0]", "part[1]", "part#2[0]"]


def test_of_many_calls_the_last_ones_are_one_site():
    def sites(most, calls):
        counted = Calls(most)
        counted.enter(model := Twice(), model)
        return [counted.site("part", "[0]") for _ in range(calls)]

    assert sites(3, 5) == ["part[0]", "part#2[0]", *["part#3+[0]"] * 3]
    assert sites(1, 3) == ["part[0]"] * 3
    assert len(set(sites(16, 300))) == 16


def test_outside_of_forwards_calls_are_not_counted():
    calls = Calls()
    assert [calls.site("part", "") for _ in range(2)] == ["part", "part"]
    assert not calls.inside


def test_a_forward_that_was_interrupted_ends_with_the_next_one():
    """A pre-hook that raises leaves a module that was entered and never left."""
    model, calls, log = Twice(), Calls(), []
    followed(model, calls, log)
    failing = model.part.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(torch.ones(1, 2))
    failing.remove()
    calls.enter(model.part, model)  # what a model that never got to its own hooks would leave behind
    calls.now.padding = "of the old forward"
    log.clear()
    model(torch.ones(1, 2))
    assert log == ["part", "part#2", "end"]
    assert calls.now.padding is None


def test_a_part_within_a_part_ends_no_forward():
    calls, model = Calls(), Twice()
    calls.enter(model, model)
    calls.enter(model.part, model)
    assert not calls.leave(model.part)
    assert calls.inside
    assert calls.leave(model)
    assert not calls.inside


def test_every_thread_is_in_a_forward_of_its_own():
    calls, model, inside = Calls(), Twice(), []
    calls.enter(model, model)
    thread = threading.Thread(target=lambda: inside.append(calls.inside))
    thread.start()
    thread.join()
    assert inside == [False]
    assert calls.inside
