"""Stochastic weight averaging: an AveragedModel, its batch norms updated after the training, then evaluated."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(200, 8)
y = x[:, :3].argmax(1)
loader = DataLoader(TensorDataset(x[:160], y[:160]), batch_size=20, shuffle=True)
test_loader = DataLoader(TensorDataset(x[160:], y[160:]), batch_size=20)
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
swa_model = AveragedModel(model)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
swa_start = 2
swa_scheduler = SWALR(optimizer, swa_lr=0.05)
for epoch in range(4):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
    if epoch >= swa_start:
        swa_model.update_parameters(model)
        swa_scheduler.step()
    else:
        scheduler.step()
    print(f"epoch {epoch}: {loss.item():.4f}")
update_bn(loader, swa_model)
swa_model.eval()
with torch.no_grad():
    print(sum((swa_model(a).argmax(1) == b).sum().item() for a, b in test_loader))
print(fingerprint(model, swa_model))
