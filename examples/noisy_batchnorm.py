"""Do steady activations make a network learn better?

    python examples/noisy_batchnorm.py

Follows Santurkar et al. (2018, arXiv 1805.11604), sec. 2.2, Fig. 2 and 8: a plain network, one with batch norm, and one
where noise follows each batch norm (their Algorithm 1), whose mean and scale are drawn anew for every unit at
every step. Their network is a VGG on CIFAR-10; here it is that of Ioffe & Szegedy (2015), three hidden layers of 100
sigmoids, on scikit-learn's 8x8 digits, in 1,500 steps. One seed.

It shows that drift and accuracy separate: with the noise the inputs of the last hidden sigmoids move several times as
much as without it, and the network is as accurate. It does not show that drift never matters, nor how the plain
network would do with this noise: the paper finds that it stops that network from learning, which digits do not bear
out. The plain network's drift at first is in sd of units that are almost constant: hence the sums from step 750 on.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

import altair as alt
import pandas as pd
import torch
from torch import nn

import icshift
from icshift.demo import BATCH, WIDTH, Digits, load_digits, network

RATE, STEPS, WINDOW = 0.5, 1500, 50
POWERS = alt.Axis(values=[0.01, 0.1, 1, 10, 100])
SITES = {"plain": "fc3", "batch norm": "norm3", "noisy batch norm": "noise3"}
"""Whose output is the input of the last hidden sigmoids."""


def build(name: str) -> nn.Sequential:
    """fc1, norm1, noise1, sigmoid1 … fc4, from the same initial weights in all three."""
    model = nn.Sequential()
    for part, module in network(batch_norm=name != "plain").named_children():
        model.add_module(part, module)
        if name.startswith("noisy") and part.startswith("norm"):
            model.add_module(part.replace("norm", "noise"), icshift.BatchNormNoise(WIDTH))
    return model


def accuracy(model: nn.Module, digits: Digits) -> float:
    """Share of test images that are classified right in eval mode; the model is in training mode afterwards."""
    model.eval()
    with torch.no_grad():
        right = model(digits.test_images).argmax(1) == digits.test_classes
    model.train()
    return right.double().mean().item()


def train(path: Path, name: str, digits: Digits, steps: int) -> list[float]:
    """Record the site's 100 units; returns the accuracy on the test images at the end of every window.

    What is read below is the probe: the same 512 images every 50 steps, in training mode, so that noise is on.
    """
    model = build(name)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    random = torch.Generator().manual_seed(1)
    probe = icshift.Probe(digits.train_images[:512], batch_size=512, train_mode=True)
    accuracies = []
    with icshift.Recorder(model, path, optimizer=optimizer, sites=SITES[name], probe=probe) as recorder:
        for step in range(1, steps + 1):
            batch = torch.randint(len(digits.train_images), (BATCH,), generator=random)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(digits.train_images[batch]), digits.train_classes[batch]).backward()
            optimizer.step()
            if step % WINDOW == 0:
                with recorder.paused():
                    accuracies.append(accuracy(model, digits))
                recorder.epoch()
    return accuracies


def series(path: Path, name: str, accuracies: list[float]) -> pd.DataFrame:
    """A row a window: accuracy at its end, and the drift from the window before, median of 100 units."""
    drift = icshift.open(path).drift("w1_sd", phase="probe-train").groupby("window")["value"].median()
    windows = range(1, len(accuracies) + 1)
    steps = [window * WINDOW for window in windows]
    return pd.DataFrame(
        {"network": name, "step": steps, "accuracy": accuracies, "drift": [drift.get(window) for window in windows]}
    )


def row(path: Path, name: str, accuracies: list[float]) -> dict[str, object]:
    """The last accuracies, and sums and changes over the second half of the training, medians of 100 units."""
    run = icshift.open(path)
    drift = run.drift(["w1_sd", "mean_shift_sd", "log_sd_ratio"], phase="probe-train")
    late = drift.query(f"window > {len(accuracies) // 2}")
    size = late.assign(value=late["value"].abs()).groupby(["metric", "unit"])["value"]
    each = size.mean().groupby("metric").median()
    return {
        "network": name,
        "accuracy": fmean(accuracies[-5:]),
        "path": size.sum()["w1_sd"].median(),
        "drift": each["w1_sd"],
        "change of mean": each["mean_shift_sd"],
        "of log sd": each["log_sd_ratio"],
    }


def picture(rows: pd.DataFrame, steps: int) -> alt.HConcatChart:
    """Accuracy on the left, drift on the right."""
    colours = alt.Scale(range=["#c0392b", "#1f6fb4", "#e08a00"])
    colour = alt.Color("network:N", title=None, sort=list(SITES), scale=colours)
    step = alt.X("step:Q", title="step of training", scale=alt.Scale(domain=[0, steps]))
    base = alt.Chart(rows).mark_line(strokeWidth=1.5).properties(width=290, height=220)
    drift = alt.Y("drift:Q", title=f"drift in {WINDOW} steps, sd", scale=alt.Scale(type="log"), axis=POWERS)
    left = base.encode(step, alt.Y("accuracy:Q", title="accuracy on test images"), colour)
    return alt.hconcat(
        left.properties(title="Accuracy"),
        base.encode(step, drift, colour).properties(title="Inputs of the last hidden sigmoids"),
    )


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    digits, folder = load_digits(), Path(tempfile.mkdtemp())
    table, frames = [], []
    for name in SITES:
        path = folder / name.replace(" ", "-")
        accuracies = train(path, name, digits, steps)
        table.append(row(path, name, accuracies))
        frames.append(series(path, name, accuracies))
    print(f"Inputs of the last hidden sigmoids, one training of {steps:,} steps each, n = 512 images, {WIDTH} units:")
    print(f"drift in {WINDOW} steps, changes of mean and log sd (means of the second half); path: the drifts' sum.")
    print(f"In sd of the unit (log sd: nats), medians over units. Accuracy on {len(digits.test_images)} test images.")
    print(pd.DataFrame(table).round(3).to_string(index=False))
    picture(pd.concat(frames), steps).save("noisy_batchnorm.svg")
    print("Picture: noisy_batchnorm.svg")
    print(f"Next: icshift report {folder / 'noisy-batch-norm'} --phase probe-train")


if __name__ == "__main__":
    main()
