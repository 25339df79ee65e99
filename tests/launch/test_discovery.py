"""Which models hold parameters, and what running code calls them."""

import io

import torch
from torch import nn

from icshift.launch.discovery import holders, name_of, trained_by


class HTTPServerNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)


class Trainer:
    def __init__(self, model):
        self.network = model
        self._hidden = model

    def name(self):
        return name_of(self.network)


def test_an_optimizer_trains_the_outermost_modules_of_its_parameters():
    first = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    second, other = nn.Linear(2, 2), nn.Linear(2, 2)
    optimizer = torch.optim.SGD([*first[1].parameters(), second.bias], lr=0.1)
    assert set(trained_by(optimizer)) == {first, second}
    assert trained_by(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)) == []
    assert holders({id(other.weight)}) == [other]


def test_wrappers_are_taken_off_and_each_model_is_there_once():
    model = nn.Sequential(nn.Linear(2, 2))
    wrapped = [nn.DataParallel(model), torch.compile(model, backend="eager")]
    assert trained_by(torch.optim.SGD(wrapped[0].parameters(), lr=0.1)) == [model]


def test_a_part_of_two_models_is_trained_in_both():
    shared = nn.Linear(2, 2)
    models = {nn.Sequential(shared), nn.Sequential(shared, nn.ReLU())}
    assert set(holders({id(shared.weight)})) == models


def test_torchscript_is_left_out():
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), file)
    file.seek(0)
    loaded = torch.jit.load(file)
    assert trained_by(torch.optim.SGD(loaded.parameters(), lr=0.1)) == []


def test_a_model_is_called_as_its_variable():
    classifier = nn.Linear(2, 2)
    assert name_of(classifier) == "classifier"
    assert name_of(nn.DataParallel(classifier).module) == "classifier"


def test_a_variable_that_holds_a_wrapper_names_what_is_in_it():
    models = [nn.Linear(2, 2)]
    parallel = nn.DataParallel(models[0])
    assert name_of(models[0]) == "parallel"
    assert parallel.module is models[0]


def test_an_attribute_of_self_is_a_name_too_but_not_a_private_one():
    name = Trainer(nn.Linear(2, 2)).name()
    assert name == "network"


def test_a_model_without_a_variable_is_called_as_its_class():
    names = name_of(HTTPServerNet()), name_of(nn.BatchNorm1d(2))
    assert names == ("httpserver_net", "batch_norm1d")
