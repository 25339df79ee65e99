"""Which models hold parameters, and that steady state looks through no objects."""

import copy
import io

import pytest
import torch
from torch import nn

from icshift.launch.discovery import Models, parameters_of


@pytest.fixture
def models():
    found = Models()
    with found.listening():
        yield found


def test_an_optimizer_trains_the_outermost_modules_of_its_parameters(models):
    first = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    second, other = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD([*first[1].parameters(), second.bias], lr=0.1)
    assert models.holding(parameters_of(optimizer)) == [first, second]
    assert models.holding([torch.zeros(1, requires_grad=True)]) == []
    assert models.holding([other.weight]) == [other]
    assert models.scans == 0


def test_wrappers_are_taken_off_and_each_model_is_there_once(models):
    model = nn.Sequential(nn.Linear(2, 2))
    wrapped = [nn.DataParallel(model), torch.compile(model, backend="eager")]
    assert models.holding(wrapped[0].parameters()) == [model]


def test_a_part_of_two_models_is_trained_in_both(models):
    shared = nn.Linear(2, 2)
    both = [nn.Sequential(shared), nn.Sequential(shared, nn.ReLU())]
    assert set(models.holding([shared.weight])) == set(both)


def test_torchscript_is_left_out(models):
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), file)
    file.seek(0)
    assert models.holding(torch.jit.load(file).parameters()) == []


def test_what_was_there_before_is_found_by_one_scan():
    before = [nn.Sequential(nn.Linear(2, 2)) for _ in range(3)]
    models = Models()
    with models.listening():
        for model in before:
            assert models.holding(model.parameters()) == [model]
    assert models.scans == 1


def test_copies_and_new_optimizers_need_no_scan(models):
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    for _ in range(20):
        learner = copy.deepcopy(model)
        assert models.holding(learner.parameters()) == [learner]
        assert models.holding(model.parameters()) == [model]
    assert models.scans == 0


def test_parameters_without_a_home_end_the_scans(models):
    for _ in range(20):
        assert models.holding([nn.Parameter(torch.zeros(2))]) == []
    assert models.scans <= 3
