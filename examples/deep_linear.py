"""Does batch norm make the gradients of a deep linear network shift less when the layers before them step?

    python examples/deep_linear.py

Follows Santurkar et al. (2018, arXiv 1805.11604), Fig. 3(b) and appendix A: 25 layers of 10 x 10 without any
non-linearity, x Gaussian, target Ax, 1,000 samples, Glorot's initial weights, full-batch gradient descent with rate
1e-7, layers 9 and 17. 1,000 steps in place of 10,000, one seed; the squared error is summed over samples, which the
paper leaves open and its loss curves suggest. G is the gradient of a layer, G' what it is once the layers before
it have taken their step (their Definition 2.1): nothing shifts where ||G - G'|| is 0 and their cosine is 1.

It shows that the network with batch norm reaches the lower loss in spite of a gradient shift that is up to a thousand
times larger: in layer 17 the gradient turns all ways, while those of the plain network hardly turn. It does not show
what activations do: the definition is of gradients. Nor that it is so elsewhere: layer 9 turns little here, at a rate
of 1e-6 the paper's own curves of both networks overlap, and with non-linearities either can have the larger shift.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

import altair as alt
import pandas as pd
import torch
from torch import Tensor, nn

import icshift

LAYERS, WIDTH, SAMPLES = 25, 10, 1000
RATE, STEPS, EVERY = 1e-7, 1000, 25
MEASURED = ["fc9", "fc17"]


def network(*, batch_norm: bool) -> nn.Sequential:
    """The network: fc1 … fc25, with `batch_norm` norm1 … norm24 after all but the last."""
    model = nn.Sequential()
    for i in range(1, LAYERS + 1):
        layer = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.xavier_normal_(layer.weight)
        model.add_module(f"fc{i}", layer)
        if batch_norm and i < LAYERS:
            model.add_module(f"norm{i}", nn.BatchNorm1d(WIDTH))
    return model


def train(path: Path, steps: int, *, batch_norm: bool) -> list[float]:
    """Train, record the gradient shift of two layers at every 25th step, and return the loss at every step."""
    torch.manual_seed(0)
    inputs, matrix = torch.randn(SAMPLES, WIDTH), torch.randn(WIDTH, WIDTH)
    model = network(batch_norm=batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def loss_now() -> Tensor:
        return (model(inputs) - inputs @ matrix.T).square().sum()

    losses = []
    with icshift.Recorder(model, path, optimizer=optimizer, sites=MEASURED) as recorder:
        for _ in range(steps):
            recorder.gradient_shift(loss_now, every=EVERY, layers=MEASURED)
            optimizer.zero_grad()
            loss = loss_now()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def summary(shifts: pd.DataFrame, losses: dict[str, list[float]]) -> pd.DataFrame:
    """A row a network and layer."""
    groups = shifts.groupby(["network", "layer"], sort=False)
    table = pd.DataFrame(
        {"median ||G||": groups["norm"].median(), "median ||G - G'||": groups["l2"].median()}
        | {"mean cosine": groups["cosine"].mean(), "n": groups.size()}
    ).reset_index()
    last = {name: fmean(series[-100:]) for name, series in losses.items()}
    table["first loss"] = table["network"].map({name: series[0] for name, series in losses.items()})
    table["last loss"] = table["network"].map(last)
    return table


def picture(shifts: pd.DataFrame, steps: int) -> alt.VConcatChart:
    """A column a layer: the length of the shift above, on a logarithmic axis, and the cosine below."""
    names = list(shifts["network"].unique())
    colour = alt.Color("network:N", title=None, sort=names, scale=alt.Scale(range=["#c0392b", "#1f6fb4"]))
    width = alt.StrokeWidth("network:N", sort=names, scale=alt.Scale(range=[4, 1.5]), legend=None)
    step = alt.X("step:Q", title="step of training", scale=alt.Scale(domain=[0, steps]))
    powers = alt.Axis(values=[1, 10, 100, 1000, 1e4, 1e5], format="~e")
    length = alt.Y("l2:Q", title="||G − G'||", scale=alt.Scale(type="log", domain=[1, 1e5]), axis=powers)
    cosine = alt.Y("cosine:Q", title="cosine of G and G'", scale=alt.Scale(domain=[-1, 1]))
    rows = []
    for measure in (length, cosine):
        panels = [
            alt.Chart(shifts[shifts["layer"] == layer], title=f"layer {layer.removeprefix('fc')}")
            .mark_line()
            .encode(step, measure, colour, width)
            .properties(width=280, height=150)
            for layer in MEASURED
        ]
        rows.append(alt.hconcat(*panels))
    return alt.vconcat(*rows, title="Gradient shift of a deep linear network, gradient descent with rate 1e-7")


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each training")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    folder, frames, losses = Path(tempfile.mkdtemp()), [], {}
    for name in ("plain", "batch norm"):
        path = folder / name.replace(" ", "-")
        losses[name] = train(path, steps, batch_norm=name == "batch norm")
        frames.append(icshift.open(path).gradient_shift().assign(network=name))
    shifts = pd.concat(frames, ignore_index=True)
    print(f"Gradient shift of two layers over {steps:,} steps, one training each, measured at n steps; loss: squared")
    print(f"error summed over {SAMPLES:,} samples, the last one a mean of 100 steps.")
    table = summary(shifts, losses)
    wide = {"median ||G||": 0, "median ||G - G'||": 0, "first loss": 0, "last loss": 0, "mean cosine": 3}
    for column, digits in wide.items():
        table[column] = table[column].map(f"{{:,.{digits}f}}".format)
    print(table.to_string(index=False))
    picture(shifts, steps).save("deep_linear.svg")
    print("Picture: deep_linear.svg")
    print("Next: icshift selfcheck --quick --only deep-linear --only smoothness")


if __name__ == "__main__":
    main()
