"""Forks children that use the model, too: some end as scripts do, one at once."""

import hashlib
import os
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 6)
        self.fc2 = nn.Linear(6, 1)

    def forward(self, x):
        return self.fc2(self.fc1(x).relu())


def in_a_child(leave, model, optimizer, loader):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        for x, _ in loader:
            model(100 * x)
            optimizer.step()
        leave(0)
    os.waitpid(child, 0)


torch.manual_seed(15)
x = torch.randn(160, 4)
loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16, shuffle=True)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for leave in (sys.exit, os._exit, sys.exit):
    for inputs, targets in loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    print("epoch", flush=True)
    in_a_child(leave, model, optimizer, loader)
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
