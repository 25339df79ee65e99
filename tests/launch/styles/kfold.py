"""Cross-validation: a fresh model and optimizer for every fold."""

import torch
from fingerprint import fingerprint
from sklearn.model_selection import KFold
from torch import nn
from torch.utils.data import DataLoader, SubsetRandomSampler, TensorDataset


class SimpleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2))

    def forward(self, x):
        return self.layers(x)


if __name__ == "__main__":
    torch.manual_seed(42)
    x = torch.randn(120, 6)
    dataset = TensorDataset(x, (x.sum(1) > 0).long())
    results = {}
    for fold, (train_ids, test_ids) in enumerate(KFold(n_splits=3, shuffle=True, random_state=0).split(dataset)):
        trainloader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(train_ids))
        testloader = DataLoader(dataset, batch_size=10, sampler=SubsetRandomSampler(test_ids))
        network = SimpleNet()
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        for epoch in range(3):
            for inputs, targets in trainloader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(inputs), targets)
                loss.backward()
                optimizer.step()
            print(f"fold {fold} epoch {epoch}: loss {loss.item():.4f}")
        correct = 0
        network.eval()
        with torch.no_grad():
            for inputs, targets in testloader:
                correct += (network(inputs).argmax(1) == targets).sum().item()
        results[fold] = correct / len(test_ids)
        print(f"Accuracy for fold {fold}: {100 * results[fold]:.1f} % {fingerprint(network)}")
