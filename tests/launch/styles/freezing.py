"""Transfer learning: the head first, then one more layer an epoch, with a new optimizer each time."""

import time

import torch
from fingerprint import fingerprint
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(x)))


def train_model(model, criterion, optimizers, num_epochs):
    since = time.time()
    for epoch in range(num_epochs):
        optimizer = optimizers(epoch)
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss = 0.0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    loss = criterion(model(inputs), labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
            print(f"{epoch} {phase} Loss: {running_loss / len(dataloaders[phase].dataset):.4f}")
    assert time.time() >= since
    return model


torch.manual_seed(0)
x = torch.randn(200, 8)
y = x[:, :3].argmax(1)
dataloaders = {
    "train": DataLoader(TensorDataset(x[:160], y[:160]), batch_size=20, shuffle=True),
    "val": DataLoader(TensorDataset(x[160:], y[160:]), batch_size=20, shuffle=True),
}
model_ft = Network()
model_ft.requires_grad_(False)
model_ft.fc = nn.Linear(16, 3)


def unfreeze(epoch):
    parts = [model_ft.fc, model_ft.layer2, model_ft.layer1][: epoch + 1]
    for part in parts:
        part.requires_grad_(True)
    return optim.SGD([p for p in model_ft.parameters() if p.requires_grad], lr=0.05, momentum=0.9)


model_ft = train_model(model_ft, nn.CrossEntropyLoss(), unfreeze, num_epochs=3)
print(fingerprint(model_ft))
