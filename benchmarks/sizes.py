"""What recording models of real size takes at its defaults: memory and disk of a process, before anything is trained.

    python benchmarks/sizes.py

Models are built on the meta device: no weight is there, and nothing is computed. Units are those that a recorder would
keep (`max_units` and `max_total_units` of `Sites`). What a unit takes while it is recorded, on disk, and when a window
closes is measured on this machine, with a layer of as many units as a site of the model has, in a window of 200 steps;
memory is of the phase `train`, the most that was taken at any step. Of closing a window the training waits for a part,
and goes on while the rest is written. All else is arithmetic.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from icshift.hooks import observer as module
from icshift.hooks.observer import SEED, Observer
from icshift.model.sites import Sites, choose_sites
from icshift.model.unit_budget import lowered, units_of
from icshift.runs import compaction, writer
from icshift.runs.format import Window
from icshift.runs.writer import Recording

STEPS, ROWS = 200, 256
_ALL_BLOCKS, _BUFFERED_BYTES, _KEPT = module._ALL_BLOCKS, writer._BUFFERED_BYTES, compaction._KEPT
BOUNDS = {"memory": 2e9, "close": 2.0, "disk": 100e6}


def gpt2() -> nn.Module:
    """124 million parameters: 12 blocks of width 768, 50,257 tokens."""
    blocks = [_block(768, 4 * 768, 3 * 768, norms=nn.LayerNorm) for _ in range(12)]
    return nn.ModuleList([nn.Embedding(50_257, 768), nn.Embedding(1024, 768), *blocks, nn.LayerNorm(768)])


def llama(width: int, hidden: int, blocks: int, heads: int) -> nn.Module:
    """Blocks of gated layers; `heads` is the width of keys and values."""
    made = [
        nn.ModuleList(
            [
                *(nn.RMSNorm(width), nn.Linear(width, width), nn.Linear(width, heads), nn.Linear(width, heads)),
                *(nn.Linear(width, width), nn.RMSNorm(width)),
                *(nn.Linear(width, hidden), nn.Linear(width, hidden), nn.Linear(hidden, width)),
            ]
        )
        for _ in range(blocks)
    ]
    return nn.ModuleList([nn.Embedding(32_000, width), *made, nn.RMSNorm(width), nn.Linear(width, 32_000)])


def mixture() -> nn.Module:
    """48 blocks of 128 experts, each of three gated layers."""
    experts = (nn.Linear(2048, 768), nn.Linear(2048, 768), nn.Linear(768, 2048))
    blocks = [
        nn.ModuleList(
            [
                *(nn.RMSNorm(2048), nn.Linear(2048, 4096), nn.Linear(4096, 2048), nn.RMSNorm(2048)),
                nn.Linear(2048, 128),
                *(nn.Linear(layer.in_features, layer.out_features) for _ in range(128) for layer in experts),
            ]
        )
        for _ in range(48)
    ]
    return nn.ModuleList([nn.Embedding(151_936, 2048), *blocks, nn.RMSNorm(2048), nn.Linear(2048, 151_936)])


def _block(width: int, hidden: int, attention: int, norms: type[nn.Module]) -> nn.Module:
    layers = (nn.Linear(width, attention), nn.Linear(width, width), nn.Linear(width, hidden), nn.Linear(hidden, width))
    return nn.ModuleList([norms(width), norms(width), *layers])


MODELS: dict[str, Callable[[], nn.Module]] = {
    "GPT-2": gpt2,
    "Llama 7B": lambda: llama(4096, 11_008, 32, 4096),
    "Llama 70B": lambda: llama(8192, 28_672, 80, 1024),
    "MoE 48x128 experts": mixture,
}


@cache
def measured(units: int, sites: int, share: float) -> tuple[float, float, float, float]:
    """Bytes of memory, seconds to close and those of them that the training waits, and bytes on disk, of one site of so
    many units, in a window of `STEPS`.

    It is that of several sites together, so that what they share counts once; they are that `share` of all sites, and
    get as much of the memory that all sites have together.
    """
    gc.collect()
    module._ALL_BLOCKS = int(_ALL_BLOCKS * share)
    writer._BUFFERED_BYTES = int(_BUFFERED_BYTES * share)
    compaction._KEPT = int(_KEPT * share)
    torch.manual_seed(0)
    layer = nn.Linear(1, units)
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(Path(folder) / "run", {})
        tracemalloc.start()
        most = 0
        observer = Observer(Sites(), 64, SEED, recording.append_steps)
        for step in range(STEPS):
            values: Tensor = torch.randn(ROWS, units)
            for site in range(sites):
                # Nowhere the same numbers, which a file would hold once.
                moved = values * (1 + 0.01 * site) + 0.001 * site
                observer.observe(f"blocks.{site}.layer", layer, moved, "train", stepping=True)
            observer.tick(step, stepping=True)
            most = max(most, tracemalloc.get_traced_memory()[0])
            if recording.full:
                recording.flush()
        memory = most / sites
        tracemalloc.stop()
        began = time.process_time()
        distributions = observer.distributions()
        waited = (time.process_time() - began) / sites
        recording.write_window(Window(1, "1", 0, STEPS - 1, closed=True), distributions)
        seconds = (time.process_time() - began) / sites
        return memory, seconds, waited, recording.window_file(1).stat().st_size / sites


def kept(model: nn.Module) -> Iterator[int]:
    """How many units are recorded of every site."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bounded = lowered(model, Sites())
    for layer in choose_sites(model, bounded).values():
        yield min(units_of(layer) or bounded.max_units, bounded.max_units)


def main() -> None:
    torch.set_num_threads(1)
    measured(1, 1, 1.0)  # What is imported for the first time is of no site.
    wanted = sys.argv[1:] or list(MODELS)
    table = Table(title=f"A process that records with default settings, a window of {STEPS} steps")
    for column in (
        "model",
        "sites",
        "units",
        "memory MB",
        "KB a unit",
        "close s",
        "waits s",
        "µs a unit",
        "disk MB",
        "bytes a unit",
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    missed = []
    for name in wanted:
        with torch.device("meta"):
            model = MODELS[name]()
        units = list(kept(model))
        sizes, counts = np.unique(units, return_counts=True)
        each = np.array([measured(int(size), few := 400 if size < 64 else 8, few / len(units)) for size in sizes])
        memory, seconds, waited, disk = (each * counts[:, None]).sum(0)
        total = sum(units)
        table.add_row(
            *(name, f"{len(units):,}", f"{total:,}", f"{memory / 1e6:,.0f}", f"{memory / total / 1e3:.1f}"),
            *(
                f"{seconds:.1f}",
                f"{waited:.1f}",
                f"{1e6 * seconds / total:.0f}",
                f"{disk / 1e6:.0f}",
                f"{disk / total:,.0f}",
            ),
        )
        found = {"memory": memory, "close": seconds, "disk": disk}
        missed += [
            f"{name}: {what} {found[what]:.3g} > {BOUNDS[what]:.3g}" for what in BOUNDS if found[what] > BOUNDS[what]
        ]
    Console().print(table)
    Console().print("\n".join(missed) or "All within 2 GB of memory, 2 s to close and 100 MB a window.")


if __name__ == "__main__":
    main()
