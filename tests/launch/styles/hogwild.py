"""PyTorch's example mnist_hogwild: processes train one model whose memory they share."""

import torch
import torch.multiprocessing as mp
from fingerprint import fingerprint
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 12)
        self.fc2 = nn.Linear(12, 3)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def train_epoch(model, data_loader, optimizer):
    model.train()
    for data, target in data_loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data), target)
        loss.backward()
        optimizer.step()


def train(rank, model, dataset):
    torch.manual_seed(1 + rank)
    train_loader = DataLoader(dataset, batch_size=20, shuffle=True)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    for _ in range(3):
        train_epoch(model, train_loader, optimizer)


if __name__ == "__main__":
    torch.manual_seed(1)
    x = torch.randn(200, 8)
    dataset = TensorDataset(x, x[:, :3].argmax(1))
    model = Net()
    model.share_memory()
    # One after the other, so that what it prints is always the same.
    for rank in range(2):
        p = mp.Process(target=train, args=(rank, model, dataset))
        p.start()
        p.join()
    model.eval()
    with torch.no_grad():
        print(f"accuracy {(model(x).argmax(1) == dataset.tensors[1]).float().mean().item():.4f}")
    print(fingerprint(model))
