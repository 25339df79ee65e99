"""A compiled model; the first argument is the backend."""

import hashlib
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(8, 16)
        self.norm1 = nn.BatchNorm1d(16)
        self.fc2 = nn.Linear(16, 16)
        self.fc3 = nn.Linear(16, 2)

    def forward(self, x):
        x = torch.relu(self.norm1(self.fc1(x)))
        return self.fc3(torch.sigmoid(self.fc2(x)))


torch.manual_seed(9)
inputs = torch.randn(288, 8)
classes = (inputs[:, 0] > inputs[:, 1]).long()
train_loader = DataLoader(TensorDataset(inputs[:256], classes[:256]), batch_size=32, shuffle=True)
val_loader = DataLoader(TensorDataset(inputs[256:], classes[256:]), batch_size=32)
model = torch.compile(Mlp(), backend=sys.argv[1] if len(sys.argv) > 1 else "eager", fullgraph=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
for epoch in range(3):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for x, y in val_loader:
            print(epoch, f"{loss.item():.4f}", (model(x).argmax(1) == y).sum().item())
print(hashlib.sha256(b"".join(t.numpy().tobytes() for t in model.state_dict().values())).hexdigest())
