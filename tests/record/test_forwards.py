"""Which phase a forward is of, and whether it belongs to a step."""

import pytest
from torch import nn

from icshift.hooks.calls import Call
from icshift.record.forwards import Forward, Forwards


@pytest.fixture
def task():
    """A model that holds a network, which is called without it."""
    return nn.ModuleDict({"net": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))})


def begun(forwards, part, gradients=True):
    return forwards.begun(Call(part, None, gradients))


def test_the_mode_of_what_is_called_decides(task):
    forwards = Forwards(task)
    assert begun(forwards, task["net"]) == Forward("train", stepping=True)
    task["net"].eval()
    assert task.training
    assert begun(forwards, task["net"]) == Forward("eval", stepping=False)
    assert begun(forwards, task) == Forward("train", stepping=True)


def test_without_gradients_training_mode_is_a_phase_of_its_own_and_no_step(task):
    forwards = Forwards(task)
    assert begun(forwards, task, gradients=False) == Forward("no-grad", stepping=False)
    assert begun(forwards, task["net"].eval(), gradients=False) == Forward("eval", stepping=False)


def test_what_is_always_in_eval_mode_is_in_that_of_the_model(task):
    forwards = Forwards(task)
    norm = task["net"][1].eval()
    assert begun(forwards, norm) == Forward("train", stepping=True)
    frozen = task["net"].eval().requires_grad_(requires_grad=False)
    assert begun(forwards, frozen) == Forward("train", stepping=True)
    assert begun(forwards, frozen, gradients=False) == Forward("no-grad", stepping=False)
    task.eval()
    assert begun(forwards, frozen) == Forward("eval", stepping=False)


def test_a_label_comes_first_and_ends_with_its_block(task):
    forwards = Forwards(task)
    with forwards.labelled("fake"):
        assert begun(forwards, task) == Forward("fake", stepping=True)
        assert begun(forwards, task["net"].eval()) == Forward("fake", stepping=False)
        with forwards.labelled("probe-train"):
            assert begun(forwards, task) == Forward("probe-train", stepping=False)
        assert begun(forwards, task) == Forward("fake", stepping=True)
    assert begun(forwards, task) == Forward("train", stepping=True)


def test_evaluations_have_the_name_that_they_are_given(task):
    forwards = Forwards(task)
    forwards.evaluation = lambda _: "eval-2"
    assert begun(forwards, task["net"].eval()) == Forward("eval-2", stepping=False)
    assert begun(forwards, task) == Forward("train", stepping=True)
