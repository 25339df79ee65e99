"""Ranks that a script starts itself."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn


def work(rank, n):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29613")
    dist.init_process_group("gloo", rank=rank, world_size=n)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(10):
        opt.zero_grad()
        model(torch.randn(8, 3)).square().mean().backward()
        # Not by DistributedDataParallel: where a process ends, it may wait for its own thread for ever, which waits for
        # the interpreter.
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
        opt.step()
    dist.destroy_process_group()


if __name__ == "__main__":
    mp.spawn(work, args=(2,), nprocs=2)
    print("ok")
