"""Which module reads which site's output."""

import torch
from torch import nn

from icshift.hooks.neighbours import Neighbours


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.relu = nn.ReLU()
        self.gelu = nn.GELU()
        self.drop = nn.Dropout()
        self.copied = nn.Tanh()

    def forward(self, x):
        y = self.fc(x)
        return self.gelu(y) + self.relu(y) + self.relu(self.norm(y)) + self.drop(y) + self.copied(y + 0)


def listening(model):
    """Neighbours that are told of the outputs of every leaf, as a watcher tells them."""
    neighbours = Neighbours(model)
    neighbours.listen()
    for name, module in model.named_children():
        module.register_forward_hook(lambda _, __, output, name=name: neighbours.note_output(name, output))
    return neighbours


def test_who_reads_a_sites_very_output_is_its_neighbour():
    model = Branches()
    neighbours = listening(model)
    model(torch.randn(5, 3))
    # Tanh gets another tensor, and dropout is no activation; a class is named once.
    assert neighbours.feeds == {"fc": ["GELU", "ReLU"], "norm": ["ReLU"]}
    assert neighbours.followed == {model.norm: "fc"}


def test_at_rest_nothing_is_learned_and_no_hook_is_left():
    model = Branches()
    neighbours = listening(model)
    neighbours.rest()
    model(torch.randn(5, 3))
    assert (neighbours.feeds, neighbours.followed) == ({}, {})
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_tensor_that_died_is_nobodys_output():
    """Another tensor may have its address, and so its `id`."""
    model = Branches()
    neighbours = Neighbours(model)
    neighbours.listen()
    gone = torch.randn(5, 4)
    neighbours.note_output("fc", gone)
    neighbours._outputs[id(other := torch.randn(5, 4))] = neighbours._outputs.pop(id(gone))
    del gone
    model.relu(other)
    assert neighbours.feeds == {}


def test_listening_again_begins_anew():
    model = Branches()
    neighbours = listening(model)
    neighbours.rest()
    neighbours.listen()
    model(torch.randn(5, 3))
    assert neighbours.feeds["norm"] == ["ReLU"]
    neighbours.close()
    assert not any(module._forward_pre_hooks for module in model.modules())
