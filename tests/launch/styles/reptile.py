"""Reptile: weights move to those of copies that were trained on a task each; no optimizer holds the model's own."""

import copy

import torch
from fingerprint import fingerprint
from torch import nn

torch.manual_seed(0)
meta_model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))


def inner_train(model, amplitude, phase):
    opt = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(4):
        x = torch.rand(10, 1) * 10 - 5
        loss = nn.functional.mse_loss(model(x), amplitude * torch.sin(x + phase))
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


for iteration in range(6):
    task_model = copy.deepcopy(meta_model)
    loss = inner_train(task_model, torch.rand(()) * 4 + 1, torch.rand(()) * 3)
    with torch.no_grad():
        for p, q in zip(meta_model.parameters(), task_model.parameters(), strict=True):
            p.add_(q - p, alpha=0.1)
    if iteration % 2 == 0:
        print(f"iteration {iteration}: loss {loss:.4f}")
print(fingerprint(meta_model))
