"""Early stopping with patience: the best weights are put back and tested."""

import copy

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.counter, self.best, self.state = patience, 0, None, None

    def __call__(self, val_loss, model):
        if self.best is None or val_loss < self.best:
            self.best, self.state, self.counter = val_loss, copy.deepcopy(model.state_dict()), 0
        else:
            self.counter += 1
        return self.counter >= self.patience


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        return sum(nn.functional.mse_loss(model(x), y, reduction="sum").item() for x, y in loader)


torch.manual_seed(0)
x = torch.randn(180, 8)
y = x[:, :1] + torch.randn(180, 1)
parts = [TensorDataset(x[a:b], y[a:b]) for a, b in ((0, 80), (80, 130), (130, 180))]
train_loader = DataLoader(parts[0], batch_size=16, shuffle=True)
val_loader, test_loader = DataLoader(parts[1], batch_size=25), DataLoader(parts[2], batch_size=25)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
early_stopping = EarlyStopping(patience=2)
for epoch in range(50):
    model.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    val_loss = evaluate(model, val_loader)
    print(f"epoch {epoch}: {val_loss:.4f}")
    if early_stopping(val_loss, model):
        print("Early stopping")
        break
model.load_state_dict(early_stopping.state)
print(f"test {evaluate(model, test_loader):.4f}")
print(fingerprint(model))
