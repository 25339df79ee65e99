"""Layers stand in the order of their calls, own their parameters once, and no hook remains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from icshift.errors import MeasurementError, SelectionError
from icshift.gradients.layers import ROOT, in_call_order, select_layers
from tests.oracles.rebuilt import SPECIMENS


def layers_of(model: nn.Module, forward: Any, counted: Any = "all") -> dict[str, list[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {layer.name: [names[id(p)] for p in layer.parameters] for layer in in_call_order(model, forward, counted)}


@pytest.mark.parametrize("counted", ["all", "weights"])
@pytest.mark.parametrize("name", SPECIMENS)
def test_order_and_parameters_are_those_written_down_by_hand(name: str, counted: str) -> None:
    specimen = SPECIMENS[name]
    model = specimen.build()
    dimensions = {name: parameter.ndim for name, parameter in model.named_parameters()}
    expected = {
        layer: kept
        for layer, names in specimen.order.items()
        if (kept := [n for n in names if counted == "all" or dimensions[n] >= 2])
    }
    assert layers_of(model, lambda: specimen.loss(model), counted) == expected
    assert list(layers_of(model, lambda: specimen.loss(model), counted)) == list(expected)
    for module in model.modules():
        assert not module._forward_pre_hooks


def test_a_module_that_is_not_called_stands_after_the_one_registered_before_it() -> None:
    model = nn.ModuleDict({name: nn.Linear(2, 2) for name in "abcdef"})
    inputs = torch.zeros(1, 2)
    found = layers_of(model, lambda: [model[name](inputs) for name in "ebbcb"])
    assert list(found) == ["a", "e", "f", "b", "c", "d"]


def test_hooks_go_although_the_forward_fails() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes"):
        in_call_order(model, lambda: model(torch.zeros(1, 2)))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_script_takes_no_hooks_and_is_still_a_layer() -> None:
    model = nn.Sequential(nn.Linear(2, 2), torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), nn.Linear(2, 2))
    assert list(layers_of(model, lambda: model(torch.zeros(1, 2)))) == ["0", "1", "2"]


def test_the_model_itself_is_a_layer_where_it_owns_parameters() -> None:
    model = nn.Linear(3, 2)
    assert layers_of(model, lambda: model(torch.zeros(1, 3))) == {ROOT: ["weight", "bias"]}


def test_a_tied_parameter_belongs_to_the_first_in_execution() -> None:
    model = nn.ModuleDict({"decode": nn.Linear(3, 3, bias=False), "encode": nn.Linear(3, 3)})
    model["decode"].weight = model["encode"].weight
    inputs = torch.zeros(1, 3)
    found = in_call_order(model, lambda: model["decode"](model["encode"](inputs)))
    assert [layer.name for layer in found] == ["encode"]
    assert found[0].parameters[0] is model["decode"].weight


def test_choosing_by_name_and_glob() -> None:
    specimen = SPECIMENS["transformer"]
    model = specimen.build()
    layers = in_call_order(model, lambda: specimen.loss(model))
    assert [layer.name for layer in select_layers(layers, ["head", "encoder.linear?"])] == [
        "encoder.linear1",
        "encoder.linear2",
        "head",
    ]
    assert [layer.name for layer in select_layers(layers, ROOT)] == [ROOT]
    assert select_layers(layers) == layers
    with pytest.raises(SelectionError, match=r"no layer 'encoder.linear9'; did you mean encoder.linear"):
        select_layers(layers, ["head", "encoder.linear9"])
    with pytest.raises(SelectionError, match="layers is empty"):
        select_layers(layers, [])


def test_nothing_that_counts() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(
        MeasurementError, match="no layer of Sequential has trainable parameters that count as 'weights'"
    ):
        in_call_order(model, lambda: model(torch.zeros(2, 3)), "weights")
