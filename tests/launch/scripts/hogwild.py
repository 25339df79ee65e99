"""Processes that train one model at a time, each with an optimizer of its own."""

import sys

import torch
import torch.multiprocessing as mp
from torch import nn


def train(_, model):
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        opt.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        opt.step()


if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model.share_memory()
    ps = [mp.Process(target=train, args=(r, model)) for r in range(2)]
    [p.start() for p in ps]
    [p.join() for p in ps]
    print("ok", [p.exitcode for p in ps])
