"""How far do the hidden units of both networks of a GAN drift, with and without batch norm?

    python examples/gan.py

A small GAN (Goodfellow et al. 2014) on scikit-learn's 8x8 digits, plain and with batch norm where Radford et al. (2016,
arXiv 1511.06434) put it: in both networks, but not in the discriminator's first layer. Each network has a recorder and
a run of its own; the discriminator's forwards of real and of generated images are two phases, `real` and `fake`.

It shows how far every layer moves from window to window, and how far apart the discriminator's units hold real and
generated images. Batch norm normalises real and generated batches each by itself, so its units look alike on both
while the output tells them apart: a unit's distribution is not all that it knows. It does not show that batch norm
helps or harms. Losses of two networks that play against each other are no quality, and drift is none: here losses end
alike and images do not. It is one training each, and GANs are fickle: with leaky ReLUs in the generator too, the batch
norm GAN gave noise and the plain one digits.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import altair as alt
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import icshift

STEPS, WINDOW, BATCH, NOISE, WIDTH = 1000, 100, 64, 16, 64
PHASES = {"generator": "train", "discriminator": "real"}
"""Which phase of each network the drift is of."""


def network(inputs: int, outputs: int, activation: nn.Module, normalised: tuple[int, ...]) -> nn.Sequential:
    """Three hidden layers fc1, relu1 and so on, with norm1 … between the two in those that are normalised."""
    model = nn.Sequential()
    for i in (1, 2, 3):
        model.add_module(f"fc{i}", nn.Linear(inputs if i == 1 else WIDTH, WIDTH))
        if i in normalised:
            model.add_module(f"norm{i}", nn.BatchNorm1d(WIDTH))
        model.add_module(f"relu{i}", activation)
    model.add_module("fc4", nn.Linear(WIDTH, outputs))
    return model


def train(folder: Path, images: Tensor, steps: int, *, batch_norm: bool) -> tuple[pd.Series, Tensor]:
    """Record both networks in `folder`; return their mean losses in the last window, and 512 generated images."""
    torch.manual_seed(0)
    g = network(NOISE, 64, nn.ReLU(), (1, 2, 3) if batch_norm else ())
    d = network(64, 1, nn.LeakyReLU(0.2), (2, 3) if batch_norm else ())
    optimizer_g = torch.optim.Adam(g.parameters(), lr=2e-3, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=5e-4, betas=(0.5, 0.999))
    bce, ones, zeros = nn.BCEWithLogitsLoss(), torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    losses = []
    with (
        icshift.Recorder(g, folder / "generator", optimizer=optimizer_g, window=WINDOW),
        icshift.Recorder(d, folder / "discriminator", optimizer=optimizer_d, window=WINDOW) as recorder,
    ):
        for _ in range(steps):
            real = images[torch.randint(len(images), (BATCH,))]
            fake = g(torch.randn(BATCH, NOISE)).sigmoid()
            optimizer_d.zero_grad()
            with recorder.phase("real"):
                loss_d = bce(d(real), ones)
            with recorder.phase("fake"):
                loss_d = loss_d + bce(d(fake.detach()), zeros)
            loss_d.backward()
            optimizer_d.step()

            optimizer_g.zero_grad()
            with recorder.paused():  # This forward is for the generator's sake.
                loss_g = bce(d(fake), ones)
            loss_g.backward()
            optimizer_g.step()
            losses.append({"discriminator": loss_d.item(), "generator": loss_g.item()})
    with torch.no_grad():
        generated = g(torch.randn(512, NOISE)).sigmoid()
    return pd.DataFrame(losses).tail(WINDOW).mean(), generated


def drift(folder: Path) -> pd.DataFrame:
    """A row a network, site and window: the median over units, against the window before."""
    frames = []
    for name, phase in PHASES.items():
        table = icshift.open(folder / name).drift(phase=phase)
        medians = (
            table.groupby(["site", "window"], sort=False, observed=True)[["value", "floor"]].median().reset_index()
        )
        frames.append(medians.assign(network=name))
    return pd.concat(frames)


def by_site(folder: Path) -> pd.DataFrame:
    """A row a network and site: drift, the median over windows; and real against generated images, in the last."""
    apart = icshift.open(folder / "discriminator").report(reference="phase:fake", phase="real")
    apart = apart.assign(network="discriminator").set_index(["network", "site"])["drift"]
    medians = drift(folder).groupby(["network", "site"], sort=False, observed=True)["value"].median()
    return pd.DataFrame({"drift": medians, "real-fake": apart.reindex(medians.index)})


def lines(rows: pd.DataFrame) -> alt.Chart:
    """A panel a network, with and without batch norm: a line a site over training."""
    sites = sorted(rows["site"].unique(), key=lambda site: (site[-1], site))
    encoded = (
        alt.Chart(rows.assign(step=rows["window"] * WINDOW))
        .mark_line(point=alt.OverlayMarkDef(size=15))
        .encode(
            alt.X("step:Q", title="step of training"),
            alt.Y("value:Q", title="drift, sd (median of the units)"),
            alt.Color("site:N", sort=sites),
            alt.Column("gan:N", sort=["plain", "batch norm"], title=None),
            alt.Row("network:N", sort=list(PHASES), title=None),
        )
    )
    return encoded.properties(width=260, height=150, title=f"Drift against the {WINDOW} steps before")


def strip(images: Tensor, title: str) -> alt.Chart:
    """Generated images side by side."""
    n = len(images)
    pixels = images.reshape(n, 8, 8)
    rows = [
        {"x": 9 * i + x, "y": y, "ink": round(pixels[i, y, x].item(), 2)}
        for i in range(n) for y in range(8) for x in range(8)
    ]  # fmt: skip
    x, y = alt.X("x:O", axis=None), alt.Y("y:O", axis=None)
    ink = alt.Color("ink:Q", scale=alt.Scale(scheme="greys"), legend=None)
    return alt.Chart(pd.DataFrame(rows)).mark_rect().encode(x, y, ink).properties(width=560, height=34, title=title)


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    steps = parser.parse_args().steps
    folder = Path(tempfile.mkdtemp())
    images = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    tables, frames, strips, ends = {}, [], [], {}
    for name in ("plain", "batch norm"):
        path = folder / name.replace(" ", "-")
        losses, generated = train(path, images, steps, batch_norm=name == "batch norm")
        tables[name], ends[name] = by_site(path), {**losses, "pixels' sd": generated.std(0).mean().item()}
        frames.append(drift(path).assign(gan=name))
        strips.append(strip(generated[:16], f"Generated after {steps:,} steps, {name}"))
    rows = pd.concat(frames)
    print(f"drift: each window of {WINDOW} steps of {BATCH} images against the one before, median over the windows")
    print(
        f"(noise alone: {rows['floor'].median():.2f}); real-fake: the discriminator on real against generated images,"
    )
    print("last window. Both are w1_sd in sd, the median of the units.")
    table = pd.concat({name: one.reindex(tables["batch norm"].index) for name, one in tables.items()}, axis=1)
    print(table.round(3).to_string(na_rep="-"))
    print(f"Losses (binary cross-entropy), mean of the last {WINDOW} steps; sd of a pixel over 512 generated images,")
    print(f"mean of 64 pixels ({images.std(0).mean():.2f} in the real ones):")
    print(pd.DataFrame(ends).round(2).to_string())
    alt.vconcat(lines(rows), *strips).resolve_scale(color="independent").save("gan.svg")
    print("Picture: gan.svg")
    print(f"Next: icshift report {folder / 'batch-norm' / 'discriminator'} --phase real --reference phase:fake")


if __name__ == "__main__":
    main()
