"""How far parameters go, against NumPy on all of them in one vector."""

import numpy as np
import pytest
import torch
from torch import nn

from icshift.model import parameters
from icshift.model.parameters import Parameters


def vector(model):
    return np.concatenate([p.detach().double().numpy().ravel() for p in model.parameters()])


def step(model, size=1.0):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn_like(parameter))


def test_the_change_is_that_of_one_long_vector_since_the_last_call():
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    followed = Parameters(model)
    assert followed.change() == 0
    before = vector(model)
    for _ in range(3):
        step(model)
        after = vector(model)
        assert followed.change() == pytest.approx(np.linalg.norm(after - before), rel=1e-7)
        before = after


def test_a_tied_parameter_counts_once():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    followed = Parameters(model)
    with torch.no_grad():
        model[0].weight += 1
    assert followed.change() == pytest.approx(3)


def test_complex_parameters_count_with_both_parts():
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(1, dtype=torch.complex64))
    followed = Parameters(model)
    with torch.no_grad():
        model.weight += 3 + 4j
    assert followed.change() == pytest.approx(5)


def test_a_part_that_is_compiled_in_the_meantime_is_still_followed():
    model = nn.Sequential(nn.Linear(3, 3))
    followed = Parameters(model)
    model[0] = torch.compile(model[0], backend="eager")
    with torch.no_grad():
        next(model.parameters()).add_(1)
    assert followed.change() == pytest.approx(3)


def test_new_and_reshaped_parameters_do_not_count():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    followed = Parameters(model)
    model[1] = nn.Linear(2, 3)
    model.add_module("2", nn.Linear(3, 3))
    with torch.no_grad():
        model[0].bias += torch.tensor([3.0, 4.0])
    assert followed.change() == pytest.approx(5)


def test_lazy_parameters_count_once_they_have_a_shape():
    model = nn.LazyLinear(2)
    followed = Parameters(model)
    assert followed.change() is None
    model(torch.zeros(1, 3))
    assert followed.change() is None
    with torch.no_grad():
        model.bias += torch.tensor([3.0, 4.0])
    assert followed.change() == pytest.approx(5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_has_no_length(value):
    model = nn.Linear(2, 2)
    followed = Parameters(model)
    with torch.no_grad():
        model.bias[0] = value
    assert followed.change() is None


def test_large_models_and_those_without_memory_are_not_followed(monkeypatch):
    assert Parameters(nn.Linear(2, 2, device="meta")).change() is None
    monkeypatch.setattr(parameters, "MOST", 5)
    assert Parameters(nn.Linear(2, 2)).change() is None


def test_a_fingerprint_is_that_of_names_types_and_every_bit():
    def hashed(change=lambda model: model):
        torch.manual_seed(1)
        return Parameters(change(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))).fingerprint()

    def touched(model):
        with torch.no_grad():
            model[2].bias[1] += 1e-7
        return model

    assert hashed() == hashed()
    assert hashed(torch.nn.DataParallel) == hashed()
    changes = (touched, lambda model: model.double(), lambda model: model.bfloat16(), lambda model: model[:2])
    assert len({hashed(), *(hashed(change) for change in changes)}) == 5


def test_complex_parameters_have_a_fingerprint_and_those_on_the_meta_device_none():
    layer = nn.Linear(2, 2, dtype=torch.complex64)
    before = Parameters(layer).fingerprint()
    with torch.no_grad():
        layer.weight.imag += 1
    assert before != Parameters(layer).fingerprint() is not None
    assert Parameters(nn.Linear(2, 2, device="meta")).fingerprint() is None
    assert Parameters(nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2))).fingerprint() is None
    assert Parameters(nn.ReLU()).fingerprint() is None
