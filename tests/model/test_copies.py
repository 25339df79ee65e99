"""Which parts of a model are copies of others."""

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from icshift.model.copies import copies, is_within


def network(width=16):
    return nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2))


def frozen(module):
    return module.requires_grad_(requires_grad=False)


def of(**parts):
    return copies(nn.ModuleDict(parts), lambda parameter: parameter.requires_grad)


def test_a_frozen_copy_is_one_also_when_it_lags_behind_and_within_a_wrapper():
    net = network()
    assert of(net=net, ema=frozen(copy.deepcopy(net))) == {"ema": "net"}
    average = frozen(AveragedModel(net))
    behind = frozen(copy.deepcopy(net))
    with torch.no_grad():
        for layer in (net[0], net[3]):
            layer.weight += 0.3 * layer.weight.std() * torch.randn_like(layer.weight)
    assert of(net=net, ema=average, target=behind) == {"ema.module": "net", "target": "net"}


@pytest.mark.parametrize("other", [network(), frozen(network()), frozen(network(17))])
def test_a_network_of_its_own_is_none(other):
    assert of(net=network(), other=other) == {}


def test_layers_of_a_stack_start_alike_and_are_none():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
    frozen(encoder.layers[0])
    frozen(encoder.layers[1])
    assert copies(encoder, lambda parameter: parameter.requires_grad) == {}


def test_of_two_that_are_both_trained_or_both_frozen_none_is_a_copy():
    net = network()
    assert of(one=net, two=copy.deepcopy(net)) == {}
    assert of(one=frozen(net), two=copy.deepcopy(net)) == {}


def test_parts_without_weights_or_with_lazy_ones_are_none():
    assert of(a=nn.BatchNorm1d(4), b=frozen(nn.BatchNorm1d(4))) == {}
    assert of(a=nn.LazyLinear(4), b=nn.LazyLinear(4)) == {}


def test_what_lies_within_a_part():
    assert is_within("ema.module.0", {"ema": "net"}) == "ema"
    assert is_within("ema", {"ema": "net"}) == "ema"
    assert is_within("emanuel.0", {"ema": "net"}) is None
