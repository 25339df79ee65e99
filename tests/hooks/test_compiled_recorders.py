"""Recorders of compiled models that come and go, one after another, beside each other, and paused."""

import copy

import pytest
import torch
from torch import nn

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.hooks.compiling import Small, assert_same, batch, graphs, learn, network, sgd
from tests.oracles.hooks import counts, hooks_on

pytestmark = pytest.mark.usefixtures("quiet_compiler")


def test_after_its_end_the_compiled_model_goes_on_unrecorded(tmp_path):
    model, inputs = network(Small), batch()
    call = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run"):
        learn(call, sgd(model))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert not hooks_on(model)
    assert torch.equal(model.eval()(inputs), call(inputs))
    learn(call, sgd(model.train()))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_second_recorder_records_what_the_first_has_left(tmp_path):
    model, optimizer = network(Small), None
    call, optimizer = torch.compile(model, backend="eager", fullgraph=True), sgd(model)
    with Recorder(model, tmp_path / "first"):
        learn(call, optimizer)
    learn(call, optimizer, rows=50)
    with Recorder(model, tmp_path / "second", sites=["stem", "head"]):
        learn(call, optimizer, rows=7)
    first, second = (StoredRun(tmp_path / name) for name in ("first", "second"))
    assert set(first.steps()["count"]) == {12}
    assert counts(second) == {name: {0: 7, 1: 7, 2: 7} for name in ("stem", "head")}


def test_a_pause_records_nothing_and_compiles_nothing(tmp_path):
    model = network(Small)
    call, optimizer, seen = torch.compile(model, backend="eager", fullgraph=True), sgd(model), []
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(4):
            learn(call, optimizer, 2)
            with recorder.paused():
                learn(call, optimizer, 2)
            seen.append(graphs())
    assert counts(StoredRun(tmp_path / "run"))["stem"] == dict.fromkeys(range(8), 12)
    assert len(set(seen)) == 1


def test_what_is_compiled_in_a_pause_is_recorded_after_it(tmp_path):
    model = network(Small)
    call, optimizer = torch.compile(model, backend="eager", fullgraph=True), sgd(model)
    with Recorder(model, tmp_path / "run") as recorder:
        with recorder.paused():
            assert not hooks_on(model)
            learn(call, optimizer, rows=50)
        learn(call, optimizer)
    assert counts(StoredRun(tmp_path / "run"))["stem"] == {0: 12, 1: 12, 2: 12}


@pytest.mark.some(1)
@pytest.mark.parametrize("first", ["student", "teacher"])
def test_a_model_of_the_same_class_that_is_not_recorded(first, tmp_path):
    """Of two modules of a class the compiler sees one function, and takes the graph of the one for the other."""
    model = network(Small)
    teacher = copy.deepcopy(model)
    student_call, teacher_call = (torch.compile(one, backend="eager", fullgraph=True) for one in (model, teacher))
    optimizer = sgd(model)
    with Recorder(model, tmp_path / "run"):
        if first == "teacher":
            teacher_call(batch(50))
        for _ in range(4):
            learn(student_call, optimizer, 1)
            teacher_call(batch(50))
    assert counts(StoredRun(tmp_path / "run"))["stem"] == dict.fromkeys(range(4), 12)


def test_two_models_with_a_recorder_each_come_and_go(tmp_path):
    models = [network(Small) for _ in range(2)]
    calls = [torch.compile(model, backend="eager", fullgraph=True) for model in models]
    optimizers = [sgd(model) for model in models]
    with Recorder(models[0], tmp_path / "0"):
        learn(calls[0], optimizers[0], 2)
        with Recorder(models[1], tmp_path / "1"):
            for call, optimizer, rows in zip(calls, optimizers, (12, 7), strict=True):
                learn(call, optimizer, 3, rows)
        learn(calls[1], optimizers[1], 2, rows=50)
        learn(calls[0], optimizers[0], 2)
    assert counts(StoredRun(tmp_path / "0"))["head"] == dict.fromkeys(range(7), 12)
    assert counts(StoredRun(tmp_path / "1"))["head"] == dict.fromkeys(range(3), 7)


def test_two_recorders_of_one_compiled_model(tmp_path):
    model = network(Small)
    call = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "a", samples="all"), Recorder(model, tmp_path / "b", samples="all"):
        learn(call, sgd(model))
    assert_same(StoredRun(tmp_path / "a"), StoredRun(tmp_path / "b"))


def test_a_layer_that_comes_later_is_recorded_from_then_on(tmp_path):
    model = network(Small)
    call, optimizer = torch.compile(model, backend="eager", fullgraph=True), sgd(model)
    with Recorder(model, tmp_path / "run"):
        learn(call, optimizer, 2)
        model.head = nn.Sequential(model.head, nn.Linear(4, 3))
        learn(call, optimizer, 2)
    found = counts(StoredRun(tmp_path / "run"))
    assert found["head.1"] == {2: 12, 3: 12}
    assert found["stem"] == dict.fromkeys(range(4), 12)
