"""BYOL: an online and a target network in one module; the target's forward runs without gradients."""

import copy

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader


class MLP(nn.Sequential):
    def __init__(self, dim, projection_size, hidden_size=12):
        super().__init__(
            nn.Linear(dim, hidden_size), nn.BatchNorm1d(hidden_size), nn.ReLU(), nn.Linear(hidden_size, projection_size)
        )


class BYOL(nn.Module):
    def __init__(self, net, moving_average_decay=0.9):
        super().__init__()
        self.decay = moving_average_decay
        self.online_encoder = nn.Sequential(net, MLP(10, 6))
        self.target_encoder = copy.deepcopy(self.online_encoder).requires_grad_(False)
        self.online_predictor = MLP(6, 6)

    @torch.no_grad()
    def update_moving_average(self):
        for current, ma in zip(self.online_encoder.parameters(), self.target_encoder.parameters(), strict=True):
            ma.data.lerp_(current.data, 1 - self.decay)

    def forward(self, x):
        one, two = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
        predictions = self.online_predictor(self.online_encoder(torch.cat((one, two)))).chunk(2)
        with torch.no_grad():
            targets = self.target_encoder(torch.cat((one, two))).chunk(2)
        loss = sum(
            2 - 2 * F.cosine_similarity(p, t.detach()) for p, t in zip(predictions, reversed(targets), strict=True)
        )
        return loss.mean()


torch.manual_seed(0)
loader = DataLoader(torch.randn(160, 8), batch_size=20, shuffle=True)
learner = BYOL(nn.Linear(8, 10))
opt = torch.optim.Adam(learner.parameters(), lr=3e-3)
for epoch in range(3):
    for images in loader:
        loss = learner(images)
        opt.zero_grad()
        loss.backward()
        opt.step()
        learner.update_moving_average()
    print(f"epoch {epoch}: {loss.item():.4f}")
print(fingerprint(learner))
