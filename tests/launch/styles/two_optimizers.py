"""One model, two optimizers: embeddings by SparseAdam, the rest by Adam, both stepped after every backward."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Recommender(nn.Module):
    def __init__(self, users=30, items=40, width=8):
        super().__init__()
        self.user = nn.Embedding(users, width, sparse=True)
        self.item = nn.Embedding(items, width, sparse=True)
        self.mlp = nn.Sequential(nn.Linear(2 * width, 12), nn.ReLU(), nn.Linear(12, 1))

    def forward(self, user, item):
        return self.mlp(torch.cat([self.user(user), self.item(item)], 1)).squeeze(1)


torch.manual_seed(0)
user, item = torch.randint(0, 30, (240,)), torch.randint(0, 40, (240,))
rating = ((user + item) % 5).float()
loader = DataLoader(TensorDataset(user[:200], item[:200], rating[:200]), batch_size=20, shuffle=True)
held_out = DataLoader(TensorDataset(user[200:], item[200:], rating[200:]), batch_size=20)
model = Recommender()
optimizers = [
    torch.optim.SparseAdam([model.user.weight, model.item.weight], lr=1e-2),
    torch.optim.Adam(model.mlp.parameters(), lr=1e-2),
]
for epoch in range(3):
    model.train()
    for u, i, r in loader:
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(u, i), r)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    model.eval()
    with torch.no_grad():
        error = sum(nn.functional.mse_loss(model(u, i), r).item() for u, i, r in held_out)
    print(f"epoch {epoch}: {loss.item():.4f} {error:.4f}")
print(fingerprint(model))
