"""How long single steps of a small training are while it is recorded: where a window ends, where something is written.

    python benchmarks/stalls.py [seconds]

The small MLP of `overhead.py` is trained for so many seconds, 30 by default, in windows of 200 steps, and as long in
one window, of which what is there so far is written every ten seconds. A step is of those with a flush where something
was given to be written in it. To compare two versions, run them in turns.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from workloads import small_mlp

import icshift


def steps(seconds: float, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of each step, and whether a window ended in it or anything was flushed."""
    torch.manual_seed(0)
    workload = small_mlp()
    times, written = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with icshift.Recorder(workload.model, path, optimizer=workload.optimizer, window=window) as recorder:
            until = time.perf_counter() + seconds
            while (began := time.perf_counter()) < until:
                before = recorder._journal.written
                workload.step()
                times.append(1e3 * (time.perf_counter() - began))
                written.append(recorder._journal.written != before)
    return np.array(times), np.array(written)


def main() -> None:
    torch.set_num_threads(1)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    table = Table(title=f"Milliseconds a step, {seconds:.0f} s each, one thread")
    for column in ("windows", "steps", "median", "with a flush", "their median", "the longest", "over the median"):
        table.add_column(column, justify="left" if column == "windows" else "right")
    for name, window in (("of 200 steps", 200), ("one", sys.maxsize)):
        times, written = steps(seconds, window)
        median, flushed = float(np.median(times)), times[written]
        if len(flushed):
            shown = median, float(np.median(flushed)), float(flushed.max()), float(flushed.max()) / median
            table.add_row(
                name, f"{len(times):,}", f"{shown[0]:.2f}", f"{len(flushed)}", *(f"{value:.1f}" for value in shown[1:])
            )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
