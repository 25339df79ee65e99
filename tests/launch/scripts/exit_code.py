"""A training that leaves each pass early, and ends with an exit code of its own."""

import hashlib
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
        return self.fc2(self.fc1(x).sigmoid())


def main():
    torch.manual_seed(11)
    x = torch.randn(96, 4)
    loader = DataLoader(TensorDataset(x, x.prod(1, keepdim=True)), batch_size=16, shuffle=True)
    net = Net()
    optimizer = torch.optim.RMSprop(net.parameters())
    for _ in range(3):
        for step, (inputs, targets) in enumerate(loader, 1):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(inputs), targets).backward()
            optimizer.step()
            if step == 4:
                break
    print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())
    return 3


if __name__ == "__main__":
    sys.exit(main())
