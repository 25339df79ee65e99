"""A small network, trained on digits once, and other models for `--model`."""

import copy
import time
from functools import cache
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

from icshift.hooks.batch_norm import using
from icshift.replay.batch_norm import precise_statistics
from tests.oracles.scipys import raw

EPOCHS = 4
EXAMPLES = 300


class Digits(nn.Module):
    """Convolution, batch norm, two linear layers; sites conv, norm, fc1, fc2."""

    def __init__(self, hidden=12):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(3 * 6 * 6, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, images):
        return self.fc2(torch.tanh(self.fc1(self.relu(self.norm(self.conv(images))).flatten(1))))


class Slow(Digits):
    """Takes a while for every forward, so that there is time to interrupt it."""

    def forward(self, images):
        time.sleep(0.3)
        return super().forward(images)


class Restless(Digits):
    """Begins with an operation in place, counts its calls in a buffer and an attribute, and draws random numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.last = None

    def forward(self, images):
        self.calls += 1
        self.last = torch.rand(1)
        return super().forward(images.sub_(0.5))


class Spare(Digits):
    """Has a layer that is not used."""

    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)


class Headless(nn.Module):
    """The first half of `Digits`, and a layer that its saved models lack."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3 * 6 * 6, 5)

    def forward(self, images):
        return self.head(self.norm(self.conv(images)).flatten(1))


class Lazy(nn.Module):
    """`Digits` with layers that get their shapes from what is loaded."""

    def __init__(self):
        super().__init__()
        self.conv = nn.LazyConv2d(3, 3)
        self.norm = nn.LazyBatchNorm2d()
        self.relu = nn.ReLU()
        self.fc1 = nn.LazyLinear(12)
        self.fc2 = nn.LazyLinear(10)

    forward = Digits.forward


instance = Digits(hidden=12)


@cache
def digits():
    images, classes = load_digits(return_X_y=True)
    return torch.tensor(images[:EXAMPLES], dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(classes[:EXAMPLES])


def images():
    """For `--data`."""
    return digits()[0]


@cache
def epochs():
    """The network after every epoch."""
    torch.manual_seed(0)
    model, (inputs, classes) = Digits(), digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    found = []
    for _ in range(EPOCHS):
        for batch in torch.randperm(EXAMPLES).split(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), classes[batch]).backward()
            optimizer.step()
        found.append(copy.deepcopy(model))
    return found


def as_trained(model, inputs, axes):
    """Activations [n, units] by site, with batch norm by the statistics of these inputs; see `scipys.raw`."""
    with using(model, precise_statistics(model, inputs)):
        return raw(model, inputs, axes)


def state(epoch):
    return epochs()[epoch].state_dict()


def save_plain(folder, models=EPOCHS):
    """State dicts with their epochs; after the first `EPOCHS`, the last one once more with noise."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in range(models):
        path = folder / f"epoch-{epoch}.pt"
        torch.save({"epoch": epoch, "model": state(epoch % EPOCHS)}, path)
    return folder


def uneven():
    """Batches of which the last has another shape."""
    return [torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 8, 8), torch.zeros(4, 1, 9, 9)]


def shifted():
    """As many images as `images`, and others."""
    return images() + 0.25


def pairs():
    """A dataset of images and classes, of which the model takes the images."""
    return torch.utils.data.TensorDataset(*digits())


restless = Restless()
