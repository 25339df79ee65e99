"""How far does one hidden unit's input wander while a network trains, with and without batch norm?

    python examples/percentiles.py

Follows Ioffe & Szegedy (2015, arXiv 1502.03167), Fig. 1(b, c): the 15th, 50th and 85th percentiles of the input of one
typical sigmoid of the last hidden layer, over training. Their network (3 x 100 sigmoid units, batches of 60, batch norm
before the sigmoids), but scikit-learn's 8x8 digits in place of MNIST, 1,500 steps in place of 50,000, and a learning
rate and initial weights of our own, as the paper states neither (see icshift/demo.py). One seed.

It shows that without batch norm the percentiles travel, and that with it the median stays near 0. The distribution is
not held fixed, though: with batch norm the spread still grows, as the layer's own weight does. It does not show that a
network learns better *because* its percentiles travel less: noisy_batchnorm.py takes the two apart.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import altair as alt
import pandas as pd
import torch
from torch import nn

import icshift
from icshift.demo import BATCH, Digits, load_digits, network

RATE, STEPS, WINDOW = 0.5, 1500, 50
SITES = {"plain": "fc3", "batch norm": "norm3"}
"""Whose output is the input of the last sigmoids."""


def train(path: Path, digits: Digits, steps: int, *, batch_norm: bool) -> float:
    """Record the site's 100 units; returns the accuracy on the test images.

    What is read below is the probe: the same 512 images every 50 steps, normalised as in training, by their own batch.
    """
    model = network(batch_norm=batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    random = torch.Generator().manual_seed(1)
    probe = icshift.Probe(digits.train_images[:512], batch_size=512, train_mode=True)
    site = SITES["batch norm" if batch_norm else "plain"]
    with icshift.Recorder(model, path, optimizer=optimizer, sites=site, probe=probe, window=WINDOW):
        for _ in range(steps):
            batch = torch.randint(len(digits.train_images), (BATCH,), generator=random)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(digits.train_images[batch]), digits.train_classes[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        answers = model.eval()(digits.test_images).argmax(1)
    return (answers == digits.test_classes).double().mean().item()


def by_unit(path: Path) -> pd.DataFrame:
    """A row a unit: the range of its median, its drift summed over windows, its sd in the first and the last."""
    windows = icshift.open(path).windows().query("phase == 'probe-train'")
    drift = icshift.open(path).drift(["w1", "w1_sd"], phase="probe-train")
    units, paths = windows.groupby("unit"), drift.groupby(["metric", "unit"])["value"].sum()
    return pd.DataFrame(
        {
            "range of the median": units["q50"].max() - units["q50"].min(),
            "path": paths["w1"],
            "path in sd": paths["w1_sd"],
            "first sd": units["sd"].first(),
            "last sd": units["sd"].last(),
        }
    )


def of_typical_unit(path: Path) -> pd.DataFrame:
    """Percentiles in every window of the unit whose median has the middle range among the site's 100."""
    typical = by_unit(path)["range of the median"].rank(method="first").eq(50).idxmax()
    return icshift.open(path).windows().query(f"phase == 'probe-train' and unit == {typical}")


def picture(paths: dict[str, Path], steps: int) -> alt.Chart:
    """A panel a network: the median of its typical unit, and a ribbon from the 15th to the 85th percentile."""
    rows = pd.concat([of_typical_unit(path).assign(network=network) for network, path in paths.items()])
    rows = rows.assign(step=rows["last_step"] + 1)[["network", "step", "q15", "q50", "q85"]]
    step = alt.X("step:Q", title="step of training", scale=alt.Scale(domain=[0, steps]))
    base = alt.Chart(rows)
    ribbon = base.mark_area(opacity=0.3).encode(step, alt.Y("q15:Q", title="input of the sigmoid"), alt.Y2("q85:Q"))
    median = base.mark_line().encode(step, alt.Y("q50:Q"))
    title = "One typical unit's median, and its 15th to 85th percentile"
    panel = (ribbon + median).properties(width=300, height=220)
    return panel.facet(column=alt.Column("network:N", title=None, sort=list(paths))).properties(title=title)


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    steps = parser.parse_args().steps
    digits, folder = load_digits(), Path(tempfile.mkdtemp())
    paths = {"plain": folder / "plain", "batch norm": folder / "batch-norm"}
    rows = []
    for name, path in paths.items():
        accuracy = train(path, digits, steps, batch_norm=name == "batch norm")
        rows.append({"network": name, "accuracy": accuracy, **by_unit(path).median()})
    print(f"Inputs of the last hidden layer's sigmoids over {steps:,} steps, one training each, median of 100 units:")
    print(
        "range of the median, path (Wasserstein-1 from window to window, summed), sd in the first and last window, in"
    )
    print("units of the activation; path in the unit's own sd, which is small at first without batch norm. A window is")
    print(f"{WINDOW} steps; n = 512 fixed images; accuracy on {len(digits.test_images)} test images.")
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    picture(paths, steps).save("percentiles.svg")
    print("Picture: percentiles.svg")
    print(f"Next: icshift units {paths['plain']} --site fc3 --phase probe-train")


if __name__ == "__main__":
    main()
