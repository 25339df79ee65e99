"""Is the data that the network is tested on, to its hidden units, what it was trained on?

    python examples/train_against_eval.py

Trains a small network on scikit-learn's digits, with dropout, and records it. Forwards in eval mode are a phase of
their own, so the drift of `train` against `eval` in the same window comes for free. It shows two things at once: the
test images are other images, and dropout is on in one phase only. It does not tell from which of the two a drift comes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import icshift


def main() -> None:
    """Train and record the network; print its accuracy, and the drift of train against eval by site."""
    torch.manual_seed(0)
    digits = load_digits()
    images, classes = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    order = torch.randperm(len(images))
    train, test = order[:1400], order[1400:]
    model = nn.Sequential(
        nn.Linear(64, 100), nn.ReLU(), nn.Dropout(0.3), nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    path = Path(tempfile.mkdtemp()) / "run"
    with icshift.Recorder(model, path, optimizer=optimizer) as recorder:
        for _ in range(10):
            model.train()
            for batch in train[torch.randperm(len(train))].split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(images[batch]), classes[batch]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                accuracy = (model(images[test]).argmax(1) == classes[test]).double().mean().item()
            recorder.epoch()
    report = icshift.open(path).report(reference="phase:eval", phase="train")
    print(f"test accuracy {accuracy:.3f} on {len(test)} digits; drift of train against eval, w1_sd in sd:")
    print(report[["site", "type", "drift", "floor", "ratio", "moved"]].round(3).to_string(index=False))
    print(f"Next: icshift report {path} --reference phase:eval")


if __name__ == "__main__":
    main()
