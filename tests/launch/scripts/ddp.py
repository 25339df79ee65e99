"""Distributed data parallel training on the CPU: `torchrun --nproc-per-node 2 ddp.py`."""

import hashlib

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(10, 12)
        self.norm1 = nn.BatchNorm1d(12)
        self.fc2 = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc2(self.norm1(self.fc1(x)).relu())


def main():
    dist.init_process_group("gloo")
    torch.manual_seed(8)
    inputs = torch.randn(400, 10)
    classes = inputs[:, :3].argmax(1)
    train_set = TensorDataset(inputs[:320], classes[:320])
    val_set = TensorDataset(inputs[320:], classes[320:])
    sampler = DistributedSampler(train_set, seed=8)
    train_loader = DataLoader(train_set, batch_size=16, sampler=sampler)
    val_loader = DataLoader(val_set, batch_size=20, sampler=DistributedSampler(val_set, shuffle=False))
    net = Net()
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        correct = torch.zeros(1)
        with torch.no_grad():
            for x, y in val_loader:
                correct += (model(x).argmax(1) == y).sum()
        dist.all_reduce(correct)
        if dist.get_rank() == 0:
            print(f"epoch {epoch} accuracy {correct.item() / 80:.4f}", flush=True)
    if dist.get_rank() == 0:
        state = model.module.state_dict().values()
        print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in state)).hexdigest(), flush=True)
    dist.barrier()
    # Where the model goes after the group, its reducer ends the group's thread while it has the interpreter to itself:
    # torch waits for ever for a thread that still lets go of the last exchange's tensors.
    del model
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
