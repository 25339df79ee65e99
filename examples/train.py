"""A training that knows nothing of icshift: scikit-learn's digits, a small network with batch norm.

    icshift run examples/train.py --lr 0.1
    icshift report icshift-runs/train

records it as it is: every hidden unit at every step, a window an epoch, the evaluation of each epoch apart.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.norm1 = nn.Linear(64, 50), nn.BatchNorm1d(50)
        self.fc2, self.norm2 = nn.Linear(50, 50), nn.BatchNorm1d(50)
        self.head = nn.Linear(50, 10)
        self.relu = nn.ReLU()

    def forward(self, images):
        hidden = self.relu(self.norm1(self.fc1(images)))
        return self.head(self.relu(self.norm2(self.fc2(hidden))))


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        right = sum((net(images).argmax(1) == classes).sum().item() for images, classes in loader)
    return right / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
    training, test = random_split(data, [1400, len(data) - 1400])
    loader, test_loader = DataLoader(training, batch_size=50, shuffle=True), DataLoader(test, batch_size=397)
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=arguments.lr, momentum=0.9)
    for epoch in range(1, arguments.epochs + 1):
        net.train()
        for images, classes in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images), classes).backward()
            optimizer.step()
        print(f"epoch {epoch}: accuracy {accuracy(net, test_loader):.3f} on {len(test)} test images")


if __name__ == "__main__":
    main()
