"""A convolutional network, options by argparse, everything in functions."""

import argparse
import hashlib

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ConvNet(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 3),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(2 * channels, 3)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def make_data(count, generator):
    images = torch.randn(count, 1, 8, 8, generator=generator)
    labels = torch.randint(3, (count,), generator=generator)
    images[:, 0, :, 0] += labels[:, None]
    return TensorDataset(images, labels)


def train_epoch(model, loader, optimizer):
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    return sum((model(images).argmax(1) == labels).sum().item() for images, labels in loader) / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description="Trains a small convolutional network.")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("-q", action="store_true", help="print less")
    args = parser.parse_args()

    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(2)
    train_loader = DataLoader(make_data(90, generator), batch_size=20, shuffle=True)
    test_loader = DataLoader(make_data(30, generator), batch_size=30)
    model = ConvNet(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        train_epoch(model, train_loader, optimizer)
        accuracy = evaluate(model, test_loader)
        if not args.q:
            print(f"epoch {epoch} lr {args.lr} accuracy {accuracy:.4f}")
    print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest())


if __name__ == "__main__":
    main()
