"""A graph convolutional network: messages passed by hand, the whole graph in every step."""

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn import functional as F

torch.manual_seed(12)
num_nodes = 60
x = torch.randn(num_nodes, 8)
edge_index = torch.randint(0, num_nodes, (2, 200))
y = (x[:, 0] > x[:, 1]).long()
train_mask = torch.arange(num_nodes) < 40


class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, edge_index):
        row, col = edge_index
        x = self.lin(x)
        deg = torch.zeros(x.size(0)).index_add_(0, col, torch.ones(col.size(0))) + 1
        norm = deg.rsqrt()[row] * deg.rsqrt()[col]
        out = torch.zeros_like(x).index_add_(0, col, norm[:, None] * x[row])
        return out + x / deg[:, None] + self.bias


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = GCNConv(8, 16)
        self.conv2 = GCNConv(16, 2)

    def forward(self, x, edge_index):
        x = F.dropout(self.conv1(x, edge_index).relu(), p=0.5, training=self.training)
        return self.conv2(x, edge_index)


model = GCN()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)


def train():
    model.train()
    optimizer.zero_grad()
    out = model(x, edge_index)
    loss = F.cross_entropy(out[train_mask], y[train_mask])
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def test():
    model.eval()
    pred = model(x, edge_index).argmax(dim=-1)
    return [(pred[mask] == y[mask]).float().mean().item() for mask in (train_mask, ~train_mask)]


for epoch in range(1, 25):
    loss = train()
    accs = test()
    if epoch % 8 == 0:
        print(f"Epoch: {epoch:03d}, Loss: {loss:.4f}, Train: {accs[0]:.4f}, Test: {accs[1]:.4f}")
print(fingerprint(model))
