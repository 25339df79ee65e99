"""A curriculum: a loader for every stage, easy examples first; all stages are validated together."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def make_loader(noise, count, **options):
    x = torch.randn(count, 6)
    y = (x[:, 0] + noise * torch.randn(count) > 0).long()
    return DataLoader(TensorDataset(x, y), batch_size=16, **options)


stages = [make_loader(noise, 96, shuffle=True) for noise in (0.0, 0.3, 0.6)]
validation = [make_loader(noise, 32) for noise in (0.0, 0.6)]
model = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
epoch = 0
for stage, loader in enumerate(stages):
    for _ in range(2):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            scores = [sum((model(x).argmax(1) == y).sum().item() for x, y in held_out) for held_out in validation]
        print(f"stage {stage} epoch {epoch}: {scores}")
        epoch += 1
print(fingerprint(model))
