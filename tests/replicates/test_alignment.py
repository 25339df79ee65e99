"""Which site of one network is compared with which of another."""

import torch
from torch import nn

from icshift.record.recorder import Recorder
from icshift.replicates.alignment import align
from icshift.runs.format import Site
from icshift.runs.reader import StoredRun


def linear(name, *, feeds=("Sigmoid",)):
    return Site(name, "Linear", 1, 4, feeds=feeds)


def norm(name, follows, kind="BatchNorm1d"):
    return Site(name, kind, 1, 4, normalises=True, feeds=("Sigmoid",), follows=follows)


PLAIN = [linear("fc1"), linear("fc2"), linear("fc3", feeds=())]
NORMED = [
    linear("fc1", feeds=()),
    norm("norm1", "fc1"),
    linear("fc2", feeds=()),
    norm("norm2", "fc2"),
    linear("fc3", feeds=()),
]


def names(pairs):
    return [(pair.a.name, pair.b.name) for pair in pairs]


def test_one_network_is_aligned_with_itself():
    found = align(NORMED, NORMED)
    assert names(found.roles) == [(site.name, site.name) for site in NORMED]
    assert (found.ways, found.alone_a, found.alone_b) == (("role",), (), ())


def test_inserted_norms_stand_for_the_layers_that_they_normalise():
    found = align(NORMED, PLAIN)
    assert names(found.layers) == [("fc1", "fc1"), ("fc2", "fc2"), ("fc3", "fc3")]
    assert names(found.roles) == [("norm1", "fc1"), ("norm2", "fc2"), ("fc3", "fc3")]
    assert [site.name for site in found.alone_a] == ["norm1", "norm2"]
    assert (found.ways, found.alone_b) == (("role", "layer"), ())
    assert [pair.name for pair in found.roles] == ["norm1 : fc1", "norm2 : fc2", "fc3"]
    turned = align(PLAIN, NORMED)
    assert names(turned.roles) == [(b, a) for a, b in names(found.roles)]
    assert [site.name for site in turned.alone_b] == ["norm1", "norm2"]


def test_a_layer_that_an_activation_reads_itself_stands_for_itself():
    """As where the norm is beside the way to the nonlinearity."""
    beside = [linear("fc1"), norm("norm1", "fc1"), linear("fc2"), linear("fc3", feeds=())]
    assert names(align(beside, PLAIN).roles) == [("fc1", "fc1"), ("fc2", "fc2"), ("fc3", "fc3")]


def test_norms_of_two_kinds_are_compared_by_role_alone():
    layered = [norm(site.name, site.follows, "LayerNorm") if site.normalises else site for site in NORMED]
    found = align(NORMED, layered)
    assert names(found.layers) == [("fc1", "fc1"), ("fc2", "fc2"), ("fc3", "fc3")]
    assert names(found.roles) == [("norm1", "norm1"), ("norm2", "norm2"), ("fc3", "fc3")]
    assert found.roles[0].name == "norm1 : norm1"


def test_other_types_and_names_have_no_partner():
    found = align([linear("fc1"), Site("conv", "Conv2d", 1, 4)], [linear("fc1"), linear("conv")])
    assert names(found.roles) == [("fc1", "fc1")]
    assert [site.name for site in (*found.alone_a, *found.alone_b)] == ["conv", "conv"]


def recorded_sites(model, path):
    with Recorder(model, path):
        model(torch.randn(8, 4))
    return StoredRun(path).sites


def test_recorded_layers_that_were_numbered_anew_are_aligned_by_order(tmp_path):
    """By name only the first layers would be a pair."""
    norms = [nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Tanh()]
    plain = [nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh()]
    a = recorded_sites(nn.Sequential(*norms, nn.Linear(5, 2)), tmp_path / "a")
    b = recorded_sites(nn.Sequential(*plain, nn.Linear(5, 2)), tmp_path / "b")
    found = align(a, b)
    assert names(found.layers) == [("0", "0"), ("3", "2"), ("6", "4")]
    assert names(found.roles) == [("1", "0"), ("4", "2"), ("6", "4")]
    assert [site.name for site in found.alone_a] == ["1", "4"]
