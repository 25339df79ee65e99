"""A search over learning rates and widths, each training in a function."""

import itertools

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def train_eval(config, train_data, val_data):
    torch.manual_seed(0)
    train_loader = DataLoader(train_data, batch_size=16, shuffle=True)
    val_loader = DataLoader(val_data, batch_size=20)
    model = nn.Sequential(nn.Linear(5, config["width"]), nn.ReLU(), nn.Linear(config["width"], 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for epoch in range(2):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = sum(nn.functional.mse_loss(model(x), y).item() for x, y in val_loader)
        print(f"{config} epoch {epoch}: {loss:.4f}")
    print(fingerprint(model))
    return loss


if __name__ == "__main__":
    torch.manual_seed(1)
    x = torch.randn(120, 5)
    y = x.prod(1, keepdim=True)
    train_data, val_data = TensorDataset(x[:96], y[:96]), TensorDataset(x[96:], y[96:])
    configs = [{"lr": lr, "width": width} for lr, width in itertools.product((1e-3, 1e-2), (8, 16))]
    best = min(configs, key=lambda config: train_eval(config, train_data, val_data))
    print("best", best)
