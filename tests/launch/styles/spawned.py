"""PyTorch's tutorial on distributed data parallel: `mp.spawn` starts two ranks."""

import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from fingerprint import fingerprint
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class ToyModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net1 = nn.Linear(10, 10)
        self.relu = nn.ReLU()
        self.net2 = nn.Linear(10, 5)

    def forward(self, x):
        return self.net2(self.relu(self.net1(x)))


def setup(rank, world_size, port):
    os.environ["MASTER_ADDR"] = "localhost"
    os.environ["MASTER_PORT"] = str(port)
    dist.init_process_group("gloo", rank=rank, world_size=world_size)


def demo_basic(rank, world_size, port):
    setup(rank, world_size, port)
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(80, 10), torch.randn(80, 5))
    sampler = DistributedSampler(data, num_replicas=world_size, rank=rank)
    loader = DataLoader(data, batch_size=10, sampler=sampler)
    ddp_model = DDP(ToyModel())
    optimizer = torch.optim.SGD(ddp_model.parameters(), lr=0.1)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(ddp_model(inputs), labels)
            loss.backward()
            optimizer.step()
        if rank == 0:
            print(f"epoch {epoch}: {loss.item():.4f}", flush=True)
    if rank == 0:
        print(fingerprint(ddp_model), flush=True)
    dist.barrier()
    # Where the model goes after the group, its reducer ends the group's thread while it has the interpreter to itself:
    # torch waits for ever for a thread that still lets go of the last exchange's tensors.
    del ddp_model
    dist.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    mp.spawn(demo_basic, args=(2, port), nprocs=2, join=True)
