"""`torch.compile`: a compiled model is recorded as the model itself, and the compiler does not notice."""

import copy

import pytest
import torch
from torch import nn

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.hooks.compiling import (
    assert_same,
    batch,
    breaks,
    graphs,
    learn,
    network,
    recording,
    sgd,
    whole_training,
)
from tests.oracles.hooks import counts

pytestmark = pytest.mark.usefixtures("quiet_compiler")

# Compiled before or after it is attached, whole or in parts: the recording is that of the model itself.


@pytest.mark.parametrize(
    ("backend", "tolerance"), [("eager", 0.0), pytest.param("aot_eager", 1e-6, marks=pytest.mark.thorough)]
)
def test_a_compiled_model_is_recorded_as_the_model_itself(backend, tolerance, of_eager, tmp_path):
    found, _, _ = recording(tmp_path / "run", lambda m: torch.compile(m, backend=backend, fullgraph=True))
    assert {"act#2", "act#3", "block#2", "block.up#2", "(model)"} < {site.name for site in found.sites}
    assert found.phases == ["train", "eval"]
    assert_same(found, of_eager, tolerance)
    assert not breaks()


def test_a_model_compiled_by_inductor_is_recorded_as_the_model_itself(tmp_path):
    def small():
        return nn.Sequential(nn.Linear(6, 8), relu := nn.ReLU(), nn.LayerNorm(8), relu, nn.Linear(8, 3))

    for name in ("eager", "inductor"):
        model = network(small)
        call = torch.compile(model, backend=name, fullgraph=True)
        torch.manual_seed(5)
        with Recorder(model, tmp_path / name, sites="*", samples="all"):
            learn(call, sgd(model), steps=4)
    found, expected = StoredRun(tmp_path / "inductor"), StoredRun(tmp_path / "eager")
    assert [site.name for site in found.sites] == ["0", "1", "2", "1#2", "4", "(model)"]
    assert_same(found, expected, 1e-5)
    assert not breaks()


def in_place(model):
    model.compile(backend="eager", fullgraph=True)
    return model


def parts_in_place(model):
    model.block.compile(backend="eager", fullgraph=True)
    model.block.norm.compile(backend="eager")
    return model


def parts_replaced(model):
    model.block = torch.compile(model.block, backend="eager", fullgraph=True)
    model.head = torch.compile(model.head, backend="eager", fullgraph=True)
    return model


def called_by_a_function(model):
    return torch.compile(lambda x: model(x) + 0, backend="eager", fullgraph=True)


@pytest.mark.some(2)
@pytest.mark.covering(1)
@pytest.mark.parametrize("way", [in_place, parts_in_place, parts_replaced, called_by_a_function])
@pytest.mark.parametrize("used", [False, True])
def test_sites_have_the_names_that_they_have_without(way, used, of_eager, tmp_path):
    """Compiled within the recorder's block, or even used before."""
    if used:
        model = network()
        before = copy.deepcopy(model.state_dict())
        call = way(model)
        call(batch())
        assert graphs()
        # In place: the buffers of the graph stay those of the model.
        for name, tensor in model.state_dict().items():
            tensor.copy_(before[name.replace("_orig_mod.", "")])
        with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
            whole_training(model, call, recorder)
        found = StoredRun(tmp_path / "run")
    else:
        found, _, _ = recording(tmp_path / "run", way)
    assert_same(found, of_eager)
    assert not breaks()


def test_a_function_may_call_the_model_more_than_once(tmp_path):
    model = network()
    call = torch.compile(lambda x: model(x) + model(2 * x), backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run"):
        learn(call, sgd(model))
    found = counts(StoredRun(tmp_path / "run"))
    assert found.pop("block.up#2") == {0: 24, 1: 24, 2: 24}
    assert "block.up#3" not in found, "each call of the model is a forward"


def test_a_recorder_given_the_compiled_model_records_what_is_in_it(tmp_path):
    model = network()
    call = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(call, tmp_path / "run"):
        learn(call, sgd(model))
    run = StoredRun(tmp_path / "run")
    assert run.manifest["model"] == "Network"
    assert not [site.name for site in run.sites if "_orig_mod" in site.name]


def test_compiled_in_one_phase_and_not_in_the_other(of_eager, tmp_path):
    model = network()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
        whole_training(model, lambda x: compiled(x) if model.training else model(x), recorder)
    assert_same(StoredRun(tmp_path / "run"), of_eager)
