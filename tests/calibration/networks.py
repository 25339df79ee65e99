"""Tiny networks of five kinds, all of inputs [examples, 16], and how to shift what they do."""

import torch
from torch import nn

FEATURES = 16


class Recurrent(nn.Module):
    """A GRU over four positions and a linear layer that reads all of its outputs."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.GRU(4, 12, batch_first=True), nn.Linear(12, 8)

    def forward(self, x):
        return self.out(self.rnn(x.unflatten(1, (4, 4)))[0])


def mlp():
    return nn.Sequential(
        nn.Linear(FEATURES, 24), nn.ReLU(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8)
    )


def conv():
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


def transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(nn.Unflatten(1, (4, 4)), nn.Linear(4, 8), layer, nn.Linear(8, 6))


def batch_norm():
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3),
        nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(48, 10),
    )  # fmt: skip


NETWORKS = {"MLP": mlp, "conv": conv, "transformer": transformer, "GRU": Recurrent, "batch norm": batch_norm}


def network(kind, seed):
    """A network in training mode, its weights drawn from a seed of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[kind]()
