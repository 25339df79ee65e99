"""A training that goes wrong, and where is known: at step 120 `block3` gets 3,000 times its learning rate.

    icshift run examples/diverging.py
    icshift onset icshift-runs/diverging --after 100

finds the layer and the step. It does not show why: the layers after `block3` leave their bands at the same step.
"""

from collections import OrderedDict

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def block(width):
    return nn.Sequential(OrderedDict(fc=nn.Linear(width, 50), relu=nn.ReLU()))


def main():
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    loader = DataLoader(data, batch_size=50, shuffle=True, drop_last=True)
    net = nn.Sequential(
        OrderedDict(block1=block(64), block2=block(50), block3=block(50), block4=block(50), head=nn.Linear(50, 10))
    )
    groups = [{"params": part.parameters()} for part in net.children()]
    optimizer = torch.optim.Adam(groups, lr=1e-3)
    for epoch in range(1, 7):
        for step, (images, classes) in enumerate(loader, start=(epoch - 1) * len(loader)):
            optimizer.param_groups[2]["lr"] = 1e-3 if step < 120 else 3.0
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), classes)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
