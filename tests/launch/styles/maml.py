"""First-order MAML: a copy of the model is adapted to every task, its gradients train the model."""

from copy import deepcopy

import torch
from fingerprint import fingerprint
from torch import nn


class Regressor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        return self.head(self.body(x))


def sample_task():
    amplitude, phase = torch.rand(()) * 4 + 1, torch.rand(()) * 3

    def draw(count):
        x = torch.rand(count, 1) * 10 - 5
        return x, amplitude * torch.sin(x + phase)

    return draw


torch.manual_seed(0)
model = Regressor()
meta_optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for iteration in range(5):
    meta_optimizer.zero_grad()
    meta_loss = 0.0
    for _ in range(4):
        task = sample_task()
        learner = deepcopy(model)
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.01)
        x, y = task(10)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.mse_loss(learner(x), y).backward()
            optimizer.step()
        optimizer.zero_grad()
        x, y = task(10)
        loss = nn.functional.mse_loss(learner(x), y)
        loss.backward()
        meta_loss += loss.item() / 4
        for parameter, adapted in zip(model.parameters(), learner.parameters(), strict=True):
            gradient = adapted.grad / 4
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    meta_optimizer.step()
    if iteration % 2 == 0:
        print(f"iteration {iteration}: meta loss {meta_loss:.4f}")
print(fingerprint(model))
