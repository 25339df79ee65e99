"""What the processes of a distributed training and the one process that they are compared with have in common."""

import torch
from torch import nn

STEPS = 6
ROWS = 24
"""Examples a step, of all processes together."""


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Network(nn.Module):
    """Its second block is used twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(2))

    def forward(self, x):
        first, second = self.blocks
        return self.head(second(second(first(self.stem(x)))))


def network():
    torch.manual_seed(3)
    return Network()


def batches(rank=0, ranks=1, *, steps=STEPS, rows=ROWS):
    """Inputs and targets of every step: this process's share of what is the same for any number of processes."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(steps):
        inputs = torch.randn(rows, 6, generator=generator)
        yield inputs[rank::ranks], inputs[rank::ranks, :4].sin()


def train(model, data, *, inner=None, after=None):
    """Plain training of what may be wrapped around `inner`; `after` is called after every step."""
    optimizer = torch.optim.SGD((inner or model).parameters(), lr=0.1, momentum=0.9)
    for inputs, targets in data:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
        if after is not None:
            after()
