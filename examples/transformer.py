"""Which parts of a transformer drift, and does LayerNorm hold a unit's distribution fixed?

    python examples/transformer.py

A decoder of 4 blocks (pre-norm: x + attention(LayerNorm(x)), then x + MLP(LayerNorm(x))) learns to sort 3 to 6 digits:
given "4 1 3 =" it continues "1 3 4". Shorter sequences end in padding, which `mask` keeps out of the record. The probe,
256 fixed sequences, shows what the parameters alone do.

It shows the drift of each kind of site over training and depth, and that LayerNorm, which gives every *position* mean 0
and sd 1 over its units, leaves a *unit's* mean and sd over positions free. (Here it has no weight and bias of its own,
which would move them too.) Batch norm is the other way round: without these, each unit would have mean 0 and sd 1.
It does not show what LayerNorm is good for, as nothing is compared with a transformer that has none. One training.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import altair as alt
import pandas as pd
import torch
from torch import Tensor, nn

import icshift

EQUALS, PAD, DEPTH, WIDTH, HEADS, LONGEST = 10, 11, 4, 32, 4, 6
STEPS, WINDOW, BATCH = 300, 30, 48
KINDS = {
    "LayerNorm": "blocks.*.norm?",
    "attention": "blocks.*.attention",
    "MLP": "blocks.*.mlp",
    "residual stream": "blocks.?",
}
"""Globs over the modules' names; a block's output is the residual stream behind it."""


class Attention(nn.Module):
    """Every position looks at itself and those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


def layer_norm() -> nn.LayerNorm:
    """A LayerNorm without weight and bias of its own."""
    return nn.LayerNorm(WIDTH, elementwise_affine=False)


class Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and around a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = layer_norm(), Attention()
        self.norm2 = layer_norm()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """Tokens [n, length] to logits of the ten digits [n, length, 10], by `DEPTH` blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(12, WIDTH), nn.Embedding(2 * LONGEST, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm, self.head = layer_norm(), nn.Linear(WIDTH, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def sequences(n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens [n, 12], and at each position the digit that follows, or -100 where it is not to be predicted."""
    tokens, targets = torch.full((n, 2 * LONGEST), PAD), torch.full((n, 2 * LONGEST), -100)
    for i in range(n):
        k = int(torch.randint(3, LONGEST + 1, (), generator=random))
        digits = torch.randint(10, (k,), generator=random)
        ordered = digits.sort().values
        tokens[i, : 2 * k] = torch.cat([digits, torch.tensor([EQUALS]), ordered[:-1]])
        targets[i, k : 2 * k] = ordered
    return tokens, targets


def train(path: Path, steps: int) -> float:
    """Record every kind of site; return the share of digits that are predicted right in new sequences."""
    torch.manual_seed(0)
    random = torch.Generator().manual_seed(1)
    model = Decoder()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    probe = icshift.Probe(sequences(256, random)[0])
    tokens, targets = sequences(5000, random)
    options = {"sites": KINDS.values(), "probe": probe, "window": WINDOW, "mask": lambda tokens: tokens == PAD}
    with icshift.Recorder(model, path, optimizer=optimizer, **options):
        for _ in range(steps):
            batch = torch.randint(len(tokens), (BATCH,), generator=random)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(tokens[batch]).flatten(0, 1), targets[batch].flatten()).backward()
            optimizer.step()
    tokens, targets = sequences(1000, random)
    with torch.no_grad():
        predicted = model(tokens).argmax(-1)
    return (predicted == targets)[targets >= 0].double().mean().item()


def drift(path: Path) -> pd.DataFrame:
    """A row a kind, site and window: the median drift of the site's 32 units against the window before."""
    run, frames = icshift.open(path), []
    for kind, glob in KINDS.items():
        table = run.drift(phase="probe", sites=glob)
        medians = table.groupby(["site", "window"], sort=False, observed=True)["value"].median().reset_index()
        frames.append(medians.assign(kind=kind, block=medians["site"].str.split(".").str[1].astype(int) + 1))
    return pd.concat(frames)


def by_kind(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """A row a kind: its drift, median over sites; and what its units look like in the last window."""
    windows = icshift.open(path).windows().query("phase == 'probe'")
    last = windows[windows["window"] == windows["window"].max()]
    table = []
    for kind, of_kind in rows.groupby("kind", sort=False):
        units = last[last["site"].isin(of_kind["site"])]
        window = of_kind.groupby("window")["value"].median()
        table.append(
            {
                "kind": kind,
                "sites": of_kind["site"].nunique(),
                "first drift": window.iloc[0],
                "last drift": window.iloc[-1],
                "path": of_kind.groupby("site", observed=True)["value"].sum().median(),
                "|mean|": (units["mean"].abs() / units["sd"]).median(),
                "sd 5 %": units["sd"].quantile(0.05),
                "sd 95 %": units["sd"].quantile(0.95),
            }
        )
    return pd.DataFrame(table)


def picture(rows: pd.DataFrame) -> alt.Chart:
    """A panel a kind: drift by depth, over training."""
    rows = rows.groupby(["kind", "block", "window"], sort=False)["value"].mean().reset_index()
    cells = (
        alt.Chart(rows.assign(step=rows["window"] * WINDOW))
        .mark_rect()
        .encode(
            alt.X("step:O", title="step of training", axis=alt.Axis(labelAngle=0)),
            alt.Y("block:O", title="block", scale=alt.Scale(reverse=True)),
            alt.Color("value:Q", title="drift, sd", scale=alt.Scale(scheme="viridis")),
            alt.Facet("kind:N", columns=2, sort=list(KINDS), title=None),
        )
    )
    title = f"Drift of 256 fixed sequences against {WINDOW} steps before (median of 32 units)"
    return cells.properties(width=260, height=110, title=title)


def main() -> None:
    """Run the experiment; print its table, save its picture and say what to look at next."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the training")
    steps = parser.parse_args().steps
    path = Path(tempfile.mkdtemp()) / "run"
    share = train(path, steps)
    rows = drift(path)
    print(f"{100 * share:.1f} % of the digits of 1,000 new sequences are right after {steps} steps.")
    print("Drift of 256 fixed sequences, w1_sd in sd: median over units and sites, against the window before")
    print(
        f"({WINDOW} steps): in the first two windows, the last two, and summed (path, median over sites). Then units in"
    )
    print("the last window: median |mean| in a unit's own sd, and sd of the units, 5 to 95 % of them.")
    print(by_kind(path, rows).round(3).to_string(index=False))
    picture(rows).save("transformer.svg")
    print("Picture: transformer.svg")
    print(f"Next: icshift report {path} --phase probe --site '*norm?'")


if __name__ == "__main__":
    main()
