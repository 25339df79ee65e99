"""A stream of examples: an IterableDataset without a length, with validation on another one."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, IterableDataset


class Stream(IterableDataset):
    def __init__(self, seed, count):
        self.seed, self.count = seed, count

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.count):
            x = torch.randn(6, generator=generator)
            yield x, x.prod().view(1)


def main():
    torch.manual_seed(0)
    train_loader = DataLoader(Stream(1, 170), batch_size=20)
    val_loader = DataLoader(Stream(2, 40), batch_size=20)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(3):
        model.train()
        for x, y in train_loader:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            val_loss = sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader)
        print(f"epoch {epoch}: {loss.item():.4f} {val_loss:.4f}")
    print(fingerprint(model))


if __name__ == "__main__":
    main()
