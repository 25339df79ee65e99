"""Small trainings on scikit-learn's digits: batch norm early in a training, and images that are corrupted."""

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

TRAINING = 1400


@cache
def digits():
    """Images [1797, 64] from 0 to 1, shuffled once, and their classes."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.data))
    return torch.tensor(bunch.data[order] / 16).float(), torch.tensor(bunch.target[order])


def network(width=100, layers=3, seed=0):
    """fc1, norm1, relu1 … and fc`layers + 1`, with weights drawn from a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, inputs = nn.Sequential(), 64
        for i in range(1, layers + 1):
            model.add_module(f"fc{i}", nn.Linear(inputs, width, bias=False))
            model.add_module(f"norm{i}", nn.BatchNorm1d(width))
            model.add_module(f"relu{i}", nn.ReLU())
            inputs = width
        model.add_module(f"fc{layers + 1}", nn.Linear(inputs, 10))
        return model


@cache
def states():
    """State dicts of one training after so many steps of 60 examples."""
    images, classes = digits()
    model, random, kept = network(), torch.Generator().manual_seed(0), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(1, 401):
        batch = torch.randint(0, TRAINING, (60,), generator=random)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
        optimizer.step()
        if step in (5, 400):
            kept[step] = {name: value.clone() for name, value in model.state_dict().items()}
    return kept


def trained(step=400):
    """The network after so many steps, in training mode."""
    model = network()
    model.load_state_dict(states()[step])
    return model


def accuracy(model, images=None):
    """On the 397 test digits, in eval mode; `images` in their place."""
    tests, classes = digits()
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        found = model(tests[TRAINING:] if images is None else images).argmax(1)
    for module, training in modes:
        module.training = training
    return float((found == classes[TRAINING:]).double().mean())


def noisy(images, level):
    return images + level * torch.randn(images.shape, generator=torch.Generator().manual_seed(3))


CORRUPTIONS = {
    "contrast": (lambda images, level: images * level, (0.75, 0.5, 0.25)),
    "brightness": (lambda images, level: images + level, (0.1, 0.2, 0.4)),
    "noise": (noisy, (0.1, 0.3, 0.6)),
}
"""What is done to images, and levels of increasing severity."""
