"""What recording costs: the time of training steps with the recorder over the time without.

    python benchmarks/overhead.py [pairs] [workload…]

Stretches of steps with and without recording alternate in one process, on one thread, so that both see the same state
of the machine; a pair's ratio is that of two neighbouring stretches. The median of the ratios leaves out what happens
seldom (writing, the end of a window); "in all" has everything that happened, of all stretches together, with a window
that ends every 200 steps: two at least.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from workloads import WORKLOADS, Workload

import icshift

WINDOW = 200


def seconds(workload: Workload) -> float:
    """Time of one stretch."""
    started = time.perf_counter()
    for _ in range(workload.steps):
        workload.step()
    return time.perf_counter() - started


def measure(workload: Workload, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of all stretches without and with recording: so many pairs, or as many as two windows take."""
    pairs = max(pairs, math.ceil(2 * WINDOW / (workload.steps + 1)))
    without, recorded = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with icshift.Recorder(workload.model, path, optimizer=workload.optimizer, window=WINDOW) as recorder:
            seconds(workload)
            for _ in range(pairs):
                with recorder.paused():
                    workload.step()
                    without.append(seconds(workload))
                workload.step()
                recorded.append(seconds(workload))
    return np.array(without), np.array(recorded)


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    torch.set_num_threads(1)
    chosen = sys.argv[2:] or list(WORKLOADS)
    table = Table(
        title=f"Recording with default settings, {pairs} pairs or more, one thread, torch {torch.__version__}"
    )
    for column in ("workload", "ms a step", "median ratio", "10 % to 90 %", "in all"):
        table.add_column(column, justify="left" if column == "workload" else "right")
    for name in chosen:
        torch.manual_seed(0)
        workload = WORKLOADS[name]()
        without, recorded = measure(workload, pairs)
        ratios = recorded / without
        low, high = np.quantile(ratios, [0.1, 0.9])
        table.add_row(
            workload.name,
            f"{1e3 * np.median(without) / workload.steps:.2f}",
            f"{np.median(ratios):.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{recorded.sum() / without.sum():.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
