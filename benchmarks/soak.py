"""Whether a long recording stays as it was: time of a step, memory, open files and the size of the run, in tenths.

    python benchmarks/soak.py [steps] [windows]

A tiny network is trained for so many steps, 100,000 by default, in so many windows, 1,000 by default, and recorded. A
row is a tenth of it: the median processor time of a step (of stretches of 50, so that ends of windows are in some and
not in most), memory and descriptors at its end, and what was written to disk by then. The last row has the slope of a
line through the second to the last tenth, for all of a recording: in the first, memory is taken that is used again. A
step series is thinned as it grows, so that its files are bounded; windows are one file each.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import icshift

STRETCH = 50


def open_files() -> int:
    """How many descriptors this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident() -> float:
    """Megabytes of memory that this process has in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def on_disk(folder: Path) -> dict[str, float]:
    """Megabytes of the windows and of the step series of a run, and how many files they are."""
    found = {}
    for name in ("windows", "steps"):
        files = list((folder / name).glob("*.parquet"))
        found[name] = sum(file.stat().st_size for file in files) / 1e6
        found[f"{name} files"] = len(files)
    return found


def recorded(folder: Path, steps: int, windows: int) -> list[dict[str, float]]:
    """What each tenth of a recording showed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    inputs, targets = torch.randn(512, 8), torch.randint(0, 3, (512,))
    tenths = []
    with icshift.Recorder(model, folder, optimizer=optimizer, window=max(steps // windows, 1)):
        for tenth in range(10):
            times = []
            for _ in range(steps // 10 // STRETCH):
                began = time.process_time()
                for _ in range(STRETCH):
                    batch = torch.randint(0, 512, (32,))
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(model(inputs[batch]), targets[batch]).backward()
                    optimizer.step()
                times.append((time.process_time() - began) / STRETCH)
            tenths.append(
                {
                    "tenth": tenth + 1,
                    "µs a step": 1e6 * float(np.median(times)),
                    "in all": 1e6 * float(np.mean(times)),
                    "MB in memory": resident(),
                    "descriptors": open_files(),
                    **on_disk(folder),
                }
            )
    return tenths


def main() -> None:
    torch.set_num_threads(1)
    steps, windows = (int(given) for given in (*sys.argv[1:3], *("100000", "1000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        tenths = recorded(Path(folder) / "run", steps, windows)
    table = Table(title=f"{steps:,} steps in {windows:,} windows of a network of 15 units")
    for column in tenths[0]:
        table.add_column(column, justify="right")
    for row in tenths:
        table.add_row(*(f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in row.values()))
    places = np.arange(2, 11)
    slopes = (9 * np.polyfit(places, [row[column] for row in tenths[1:]], 1)[0] for column in list(tenths[0])[1:])
    table.add_row("slope", *(f"{slope:+,.1f}" for slope in slopes))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
