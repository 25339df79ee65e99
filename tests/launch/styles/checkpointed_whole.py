"""Activation checkpointing of two halves of a model, reentrant: their first forwards run without gradients."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(160, 6)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=20, shuffle=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lower = nn.Sequential(nn.Linear(6, 10), nn.ReLU())
        self.upper = nn.Sequential(nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 1))


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(3):
    for inputs, targets in loader:
        optimizer.zero_grad()
        hidden = checkpoint(model.lower, inputs.requires_grad_(), use_reentrant=True)
        output = checkpoint(model.upper, hidden, use_reentrant=True)
        loss = nn.functional.mse_loss(output, targets)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: {loss.item():.4f}")
print(fingerprint(model))
