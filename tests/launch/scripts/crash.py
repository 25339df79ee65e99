"""A training that fails in its second epoch: in the `loop` (default), in the `dataset` or in a `forward`."""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

where = sys.argv[1] if len(sys.argv) > 1 else "loop"
step = 0


def fail_at(place):
    if where == place and step == 13:
        raise ValueError(f"bad sample in the {place} at step {step}")


class Samples(Dataset):
    def __init__(self):
        self.inputs = torch.randn(160, 5)

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, item):
        fail_at("dataset")
        return self.inputs[item], self.inputs[item].sum()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(5, 8)
        self.fc2 = nn.Linear(8, 1)

    def forward(self, x):
        fail_at("forward")
        return self.fc2(self.fc1(x).relu()).squeeze(1)


def update(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = (model(x) - y).square().mean()
    fail_at("loop")
    loss.backward()
    optimizer.step()


torch.manual_seed(10)
loader = DataLoader(Samples(), batch_size=16, shuffle=True)
model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(3):
    print("epoch", epoch, flush=True)
    for x, y in loader:
        update(model, optimizer, x, y)
        step += 1
