"""What reading costs: CPU seconds and peak memory of the commands on generated runs, and of W1 on raw arrays.

    python -m benchmarks.reading [UNITS_A_SITE] [RANKS]

Runs of 100 sites and 10 windows (1,000 units a site by default: a million unit-windows), of which every window is of
512 sampled activations or more, in 16 blocks; one run of several processes (64 by default) with one site; 20 runs of 10
sites; and a hundred thousand unit-windows as 10 to 10,000 windows, ten units a site. They are made in a temporary
directory (1.2 GB for a million unit-windows). Each command is a process of its own, on one thread; CPU seconds are user
and system time, its start included. W1 is paired: the same arrays by the kernel, by sorting in NumPy and by SciPy's
function in a loop, in turns; the median of the ratios tells more than any time. The package is compiled to bytecode
before, as one that is installed is: without, every command takes 0.1 to 0.2 s more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import wasserstein_distance

import icshift
from icshift.arrays.measure import compared
from icshift.distribution import Distribution
from icshift.runs.format import Site, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.ended import distribution_of
from icshift.sketch.workspace import Workspace

SITES, WINDOWS, STEPS = 100, 10, 16
VALUES, PAIRS = 5000, 256


def distribution(units: int, shift: float, random: np.random.Generator) -> Distribution:
    accumulator = Accumulator(units, 64, np.float32, lambda: random, Workspace())
    for step in range(STEPS):
        accumulator.observe(torch.from_numpy(random.normal(shift, 1, (64, units)).astype(np.float32)), None)
        accumulator.tick(step)
    return distribution_of(accumulator.ended())


def make(path: Path, sites: int, units: int, *, ranks: int = 1, windows: int = WINDOWS) -> Path:
    """A finished run; windows are made of a few distributions, which are written again and again."""
    random = np.random.default_rng(0)
    made = [distribution(units, 0.05 * number, random) for number in range(4)]
    where = [Site(f"layers.{number}.fc", "Linear", 1, units) for number in range(sites)]
    manifest = {
        **{"model": "Net", "parameters": 1, "created": "", "icshift": "", "torch": "", "steps": STEPS * windows},
        **{"settings": {"samples": 64, "probe_examples": 0}, "sites": [asdict(site) for site in where]},
    }
    for rank in range(ranks):
        recording = Recording(path, manifest, rank=rank, ranks=ranks)
        for index in range(1, windows + 1):
            window = Window(index, str(index), STEPS * (index - 1), STEPS * index - 1, closed=True)
            parts = {("train", site): made[(index + rank + place) % 4] for place, site in enumerate(where)}
            recording.write_window(window, parts)
            recording.flush()
            recording.update({})  # As the recorder does: files are put together.
        recording.finish({})
    return path


_MEASURED = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, 1, 0)])
_, status, used = os.wait4(pid, 0)
print(status, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)
"""
"""A small process starts the command: what starts one counts in its peak memory."""


def command(*words: object) -> tuple[float, float]:
    """CPU seconds and peak memory in megabytes of a command."""
    asked = [sys.executable, "-I", "-S", "-c", _MEASURED, sys.executable, "-m", "icshift", *map(str, words)]
    told = subprocess.run(asked, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=True)
    status, used, peak = map(float, told.stdout.split())
    if status:
        print(f"failed: {words}: {told.stderr}", file=sys.stderr)
    return used, peak


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def commands(folder: Path, units: int, ranks: int) -> Table:
    table = Table(title=f"commands, {SITES} sites x {units:,} units x {WINDOWS} windows")
    for column in ("command", "CPU s", "peak MB"):
        table.add_column(column, justify="left" if column == "command" else "right")
    run = make(folder / "run", SITES, units)
    shown = [
        ("--help",),
        ("info", run),
        ("report", run),
        ("units", run, "--site", "layers.7.fc"),
        ("path", run),
        ("export", run, "-o", folder / "drift.csv", "-f"),
        ("report", run, "-o", folder / "page.html", "-f"),
    ]
    for words in shown:
        table.add_row(" ".join(map(str, words)).replace(str(folder), "…"), *_figures(words))
    shutil.rmtree(run)
    many = folder / "many"
    for number in range(20):
        make(many / f"{number:02d}", 10, 64)
    groups = [sorted(map(str, many.iterdir()))[half : half + 10] for half in (0, 10)]
    table.add_row("ls, 20 runs of 10 sites x 64 units", *_figures(("ls", many)))
    table.add_row("compare, 10 of them with 10", *_figures(("compare", *groups[0], "--with", *groups[1])))
    of_ranks = make(folder / "ranks", 1, 1000, ranks=ranks, windows=2)
    for state in ("before", "after"):
        table.add_row(f"report, {ranks} processes x 1,000 units x 2, {state} merge", *_figures(("report", of_ranks)))
        if state == "before":
            each = seconds(lambda: [StoredRun(of_ranks).distribution("train", "layers.0.fc", w) for w in (1, 2)])
            table.add_row("  of it reading and merging, ms a unit-window", f"{1000 * each / 2000:.3f}", "")
            table.add_row("merge", *_figures(("merge", of_ranks)))
    return table


def lengths(folder: Path) -> Table:
    """The same number of sites times windows, of ten units each, in ever more windows."""
    table = Table(title="100,000 unit-windows, ten units a site: CPU s, peak MB")
    for column in ("windows", "files", "info", "report", "units --site", "CSV"):
        table.add_column(column, justify="right")
    for windows in (10, 100, 1000, 10_000):
        run = make(folder / str(windows), 10_000 // windows, 10, windows=windows)
        asked = (
            ("info", run),
            ("report", run),
            ("units", run, "--site", "layers.0.fc"),
            ("export", run, "-o", folder / "drift.csv", "-f"),
        )
        files = sum(1 for _ in run.rglob("*.parquet"))
        table.add_row(f"{windows:,}", f"{files:,}", *(", ".join(_figures(words)) for words in asked))
        shutil.rmtree(run)
    return table


def _figures(words: tuple[object, ...]) -> tuple[str, str]:
    used, peak = command(*words)
    return f"{used:.2f}", f"{peak:.0f}"


def by_sorting(a: np.ndarray, b: np.ndarray) -> list[float]:
    x, y = (np.sort(np.ascontiguousarray(one.T), axis=1) for one in (a, b))
    return [float(np.abs(p - q).mean(dtype=float)) for p, q in zip(x, y, strict=True)]


def arrays() -> Table:
    table = Table(title=f"W1 of raw arrays, {VALUES:,} values a unit, float32")
    for column in ("", "unit pairs a CPU second", "times as fast as sorting"):
        table.add_column(column, justify="left" if not column else "right")
    random = np.random.default_rng(0)
    before = random.normal(size=(VALUES, PAIRS)).astype(np.float32)
    for name, shift in (("nothing moved", 0.0), ("moved by 0.5 sd", 0.5)):
        after = random.normal(shift, 1, (VALUES, PAIRS)).astype(np.float32)
        pairs = list(zip(before.T[:32].astype(float), after.T[:32].astype(float), strict=True))
        ways = {
            "kernel": lambda after=after: compared(before, after),
            "sorting in NumPy": lambda after=after: by_sorting(before, after),
            "SciPy in a loop": lambda pairs=pairs: [wasserstein_distance(*pair) for pair in pairs],
        }
        rounds = np.array([[seconds(work) for work in ways.values()] for _ in range(9)])
        each = {
            way: times / (len(pairs) if "SciPy" in way else PAIRS) for way, times in zip(ways, rounds.T, strict=True)
        }
        for way, times in each.items():
            ratio = np.median(each["sorting in NumPy"] / times)
            table.add_row(f"{way}, {name}", f"{1 / np.median(times):,.0f}", f"{ratio:.2f}")
    return table


def main() -> None:
    units = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    ranks = int(sys.argv[2]) if len(sys.argv) > 2 else 64
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(Path(icshift.__file__).parent)], check=True)
    console = Console()
    console.print(arrays())
    with tempfile.TemporaryDirectory() as folder:
        console.print(commands(Path(folder), units, ranks))
        console.print(lengths(Path(folder)))


if __name__ == "__main__":
    main()
