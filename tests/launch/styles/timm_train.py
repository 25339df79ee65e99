"""timm's train.py: a task that holds the network and its loss, an EMA copy, checkpoints in the first argument."""

import sys
from copy import deepcopy
from pathlib import Path

import torch
from fingerprint import fingerprint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class ClassificationTask(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input, target):
        output = self.model(input)
        return {"loss": F.cross_entropy(output, target), "output": output}


class ModelEmaV3(nn.Module):
    def __init__(self, model, decay=0.9):
        super().__init__()
        self.module = deepcopy(model)
        self.module.eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for ema_v, model_v in zip(self.module.state_dict().values(), model.state_dict().values(), strict=True):
            ema_v.lerp_(model_v, 1 - self.decay) if ema_v.is_floating_point() else ema_v.copy_(model_v)

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


def create_model():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


def train_one_epoch(epoch, task, loader, optimizer, model_ema):
    task.train()
    total = 0.0
    for input, target in loader:
        loss = task(input, target)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model_ema.update(task.model)
        total += loss.item()
    print(f"Train: {epoch} Loss: {total / len(loader):.4f}")


def validate(model, loader, log_suffix=""):
    model.eval()
    correct = 0
    with torch.no_grad():
        for input, target in loader:
            correct += (model(input).argmax(1) == target).sum().item()
    print(f"Test{log_suffix}: Acc@1: {100 * correct / len(loader.dataset):.2f}")
    return correct


def main():
    output_dir = Path(sys.argv[1])
    torch.manual_seed(42)
    images = torch.randn(200, 1, 6, 6)
    target = images.flatten(1)[:, :3].argmax(1)
    loader_train = DataLoader(TensorDataset(images[:128], target[:128]), batch_size=32, shuffle=True)
    loader_eval = DataLoader(TensorDataset(images[128:192], target[128:192]), batch_size=32)
    model = create_model()
    task = ClassificationTask(model)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    model_ema = ModelEmaV3(model)
    best = -1
    for epoch in range(4):
        train_one_epoch(epoch, task, loader_train, optimizer, model_ema)
        validate(model, loader_eval)
        correct = validate(model_ema, loader_eval, log_suffix=" (EMA)")
        state = {"epoch": epoch, "state_dict": model.state_dict(), "state_dict_ema": model_ema.module.state_dict()}
        torch.save(state, output_dir / "last.pth.tar")
        if correct > best:
            best = correct
            torch.save(state, output_dir / "model_best.pth.tar")
    print(fingerprint(model, model_ema))


if __name__ == "__main__":
    main()
