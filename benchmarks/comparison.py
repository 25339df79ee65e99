"""How often a comparison of two groups of one network says that they differ: every comparison on trainings of its own.

    python benchmarks/comparison.py 200

trains two groups for each of so many comparisons: five pairs, eight pairs, and five against seven; the network, the
data and the quantities are those of tests/replicates/test_inference_calibration.py. A training takes a tenth of a
second: 200 comparisons take some 20 minutes on one core.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from icshift.record.recorder import Recorder
from icshift.replicates.inference import Design, evidence
from icshift.replicates.values import WINDOW, values_of
from icshift.runs.reader import StoredRun

DESIGNS = (Design(5, 5), Design(8, 8), Design(5, 7))


def drifts(path: Path, seed: int) -> np.ndarray:
    """Path and last window of every site, in stream and probe, of a training with weights and an order of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    inputs = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    classes = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
    with Recorder(model, path, optimizer=optimizer, probe=inputs[:40]) as recorder:
        for _ in range(3):
            for batch in torch.randperm(120).split(20):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[batch]), classes[batch]).backward()
                optimizer.step()
            recorder.epoch()
    found = values_of(StoredRun(path), phases=["train", "probe"])
    return found[found["span"] != WINDOW]["value"].to_numpy()


def main() -> None:
    torch.set_num_threads(1)
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    table = Table(title=f"Two groups of one network, {comparisons} comparisons each, 24 quantities")
    for column in ("runs", "interval holds 1", "p ≤ 0.05", "any adjusted p ≤ 0.05", "least p"):
        table.add_column(column, justify="right")
    seed = 0
    for design in DESIGNS:
        held, called, any_called = [], [], []
        for _ in range(comparisons):
            with tempfile.TemporaryDirectory() as folder:
                runs = [drifts(Path(folder) / str(run), seed + run) for run in range(design.a + design.b)]
            seed += len(runs)
            found = evidence(design, np.stack(runs[: design.a], axis=1), np.stack(runs[design.a :], axis=1))
            held.append(((found.low <= 1) & (found.high >= 1)).mean())
            called.append((found.p <= 0.05).mean())
            any_called.append((found.adjusted <= 0.05).any())
        shares = [f"{100 * np.mean(of):.1f} %" for of in (held, called, any_called)]
        table.add_row(f"{design.a} and {design.b}", *shares, f"{design.least_p:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
