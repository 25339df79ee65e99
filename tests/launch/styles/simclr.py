"""SimCLR: two views of every example go through one model."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class ContrastiveDataset(Dataset):
    def __init__(self, data, n_views=2):
        self.data, self.n_views = data, n_views

    def __len__(self):
        return len(self.data)

    def __getitem__(self, item):
        return [self.data[item] + 0.2 * torch.randn(self.data.shape[1]) for _ in range(self.n_views)]


class ResNetSimCLR(nn.Module):
    def __init__(self, out_dim=6):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 12))
        self.projection = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, out_dim))

    def forward(self, x):
        return self.projection(self.backbone(x))


def info_nce(first, second, temperature=0.2):
    z = F.normalize(torch.cat([first, second]), dim=1)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(-1e9)
    count = len(first)
    return F.cross_entropy(similarity, torch.cat([torch.arange(count, 2 * count), torch.arange(count)]))


class SimCLR:
    def __init__(self, model, optimizer, epochs):
        self.model, self.optimizer, self.epochs = model, optimizer, epochs

    def train(self, train_loader):
        for epoch_counter in range(self.epochs):
            for view_1, view_2 in train_loader:
                loss = info_nce(self.model(view_1), self.model(view_2))
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            print(f"Epoch: {epoch_counter}\tLoss: {loss.item():.4f}")


torch.manual_seed(0)
train_loader = DataLoader(ContrastiveDataset(torch.randn(160, 8)), batch_size=20, shuffle=True, drop_last=True)
model = ResNetSimCLR()
optimizer = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=1e-4)
SimCLR(model, optimizer, epochs=3).train(train_loader)
print(fingerprint(model))
