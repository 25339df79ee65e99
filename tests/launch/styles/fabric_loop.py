"""Fabric: one's own loop, with a model, an optimizer and loaders that `setup` wrapped."""

import torch
from fingerprint import fingerprint
from lightning.fabric import Fabric, seed_everything
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 12)
        self.fc2 = nn.Linear(12, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def run():
    fabric = Fabric(accelerator="cpu", devices=1)
    seed_everything(0, verbose=False)
    x = torch.randn(230, 6)
    data = TensorDataset(x, (x[:, 0] > x[:, 1]).long())
    train_loader = DataLoader(torch.utils.data.Subset(data, range(180)), batch_size=20, shuffle=True)
    test_loader = DataLoader(torch.utils.data.Subset(data, range(180, 230)), batch_size=25)
    train_loader, test_loader = fabric.setup_dataloaders(train_loader, test_loader)
    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    model, optimizer = fabric.setup(model, optimizer)
    for epoch in range(1, 4):
        model.train()
        for data, target in train_loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data), target)
            fabric.backward(loss)
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for data, target in test_loader:
                correct += (model(data).argmax(1) == target).sum().item()
        print(f"epoch {epoch}: loss {loss.item():.4f}, accuracy {correct / 50:.2f}")
    print(fingerprint(model))


if __name__ == "__main__":
    run()
