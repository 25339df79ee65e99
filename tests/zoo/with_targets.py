"""A small network with batch norm and dropout, its saved models and data, and its loss as a function of one vector."""

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

CLASSES = 3


class Net(nn.Module):
    def __init__(self, hidden=6):
        super().__init__()
        self.fc1 = nn.Linear(5, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(hidden, CLASSES)

    def forward(self, x):
        return self.fc2(self.drop(torch.tanh(self.norm(self.fc1(x)))))


OWNED = Net()
"""A model that is somebody's already."""


def data(n=60):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(n, 5, generator=generator)
    return inputs, (inputs @ torch.randn(5, CLASSES, generator=generator)).argmax(1)


def save(folder):
    """States after 20 and 60 steps, and the data."""
    torch.manual_seed(0)
    model, (inputs, classes) = Net(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for step in range(1, 61):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), classes).backward()
        optimizer.step()
        if step in (20, 60):
            torch.save({"model": model.state_dict(), "step": step}, folder / f"step-{step}.pt")
    np.savez(folder / "train.npz", x=inputs.numpy(), target=classes.numpy())
    np.savez(folder / "unlabelled.npz", x=inputs.numpy())
    np.savez(folder / "shifted.npz", x=inputs.numpy(), target=classes.numpy() + 1)
    np.savez(folder / "values.npz", x=inputs.numpy(), target=inputs[:, :2].numpy())
    broken = inputs.clone()
    broken[:3] = torch.nan
    np.savez(folder / "broken.npz", x=broken.numpy(), target=classes.numpy())


def loaded(path):
    """In double precision, dropout off, batch norm by the batch."""
    model = Net().double().eval()
    model.load_state_dict(torch.load(path)["model"])
    model.norm.train()
    return model


def vector(model):
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


def loss_of(model, *, inputs=None, classes=None):
    """A function from a vector of all parameters to the loss of all examples in one batch."""
    if inputs is None:
        inputs, classes = data()
    names, shapes = zip(*[(name, parameter.shape) for name, parameter in model.named_parameters()], strict=True)

    def loss(parameters):
        parts = parameters.split([shape.numel() for shape in shapes])
        named = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        return nn.functional.cross_entropy(functional_call(model, named | buffers, (inputs.double(),)), classes)

    return loss
