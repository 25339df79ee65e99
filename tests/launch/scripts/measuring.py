"""A training that measures itself between its steps when it is given an argument."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import icshift

if __name__ == "__main__":
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(64, 6), torch.arange(64) % 3)
    workers = {"num_workers": 1, "persistent_workers": True}
    train_loader, held_out = DataLoader(data, batch_size=16), DataLoader(data, batch_size=32, **workers)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with torch.no_grad():
        for x, _ in held_out:
            model.eval()(x)
    model.train()
    for _ in range(6):
        x, y = next(iter(train_loader))  # a batch, but no pass over the data
        if len(sys.argv) > 1:
            objective = icshift.Objective(model, lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
            icshift.hessian(objective, top=1)
            icshift.gradient_shift(objective, optimizer)
            icshift.precise_statistics(model, train_loader)
            icshift.precise_statistics(model, held_out)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
