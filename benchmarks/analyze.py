"""What `icshift analyze` costs: 20 saved ResNet-20 on 2,048 images, its time over that of the bare forward passes.

    python benchmarks/analyze.py [models]

Bare: load each state dict and send the same batches through the model twice, without gradients. Batch norm normalises
by the statistics of all of them, so that a pass to learn these, as in training, comes before the recorded one in eval
mode. (Without batch norm there is one pass, and the command takes about half of this.) The command and bare passes
alternate model by model, in one process and on one thread, so that both see the same state of the machine; a pair's
ratio is that of one saved model. "in all" is everything that the command does (reading and checking all files, the
report) over all bare passes; only the start of Python is left out.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from workloads import resnet20

from icshift.cli.main import _run
from icshift.replay.checkpoints import CheckpointRun

IMAGES = 2048
BATCH = 256
TARGET = 1.15


def network() -> nn.Module:
    return resnet20().model


def save(folder: Path, models: int) -> list[Path]:
    """Saved models of a training that has hardly begun; what the weights are has no bearing on time."""
    workload = resnet20()
    paths = [folder / f"epoch-{epoch}.pt" for epoch in range(models)]
    for epoch, path in enumerate(paths):
        workload.step()
        torch.save({"epoch": epoch, "model": workload.model.state_dict()}, path)
    return paths


def bare(model: nn.Module, path: Path, images: torch.Tensor) -> float:
    """Seconds of one saved model."""
    started = time.perf_counter()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
    with torch.no_grad():
        for training in (True, False):
            model.train(training)
            for batch in images.split(BATCH):
                model(batch)
    return time.perf_counter() - started


def measure(folder: Path, models: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds of every saved model bare and recorded, and of the command as a whole."""
    paths, images, model = save(folder, models), torch.rand(IMAGES, 3, 32, 32), network()
    np.save(folder / "images.npy", images.numpy())
    bare(model, paths[0], images)
    without: list[float] = []
    recorded: list[float] = []
    record = CheckpointRun.record

    def in_turns(run: CheckpointRun, path: Path, after: Callable[[], None], *, force: bool = False) -> None:
        began = time.perf_counter()

        def pair() -> None:
            nonlocal began
            after()
            recorded.append(time.perf_counter() - began)
            without.append(bare(model, paths[len(without)], images))
            began = time.perf_counter()

        record(run, path, pair, force=force)

    saved = [str(path) for path in paths]
    options = ["--model", f"{__file__}:network", "--data", str(folder / "images.npy"), "-o", str(folder / "run")]
    started = time.perf_counter()
    with patch.object(CheckpointRun, "record", in_turns), redirect_stdout(StringIO()):
        if code := _run(["analyze", *saved, *options, "--batch-size", str(BATCH), "--quiet"]):
            raise SystemExit(code)
    whole = time.perf_counter() - started - sum(without)
    return np.array(without), np.array(recorded), whole


def main() -> None:
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        without, recorded, whole = measure(Path(folder), models)
    ratios = recorded / without
    low, high = np.quantile(ratios, [0.1, 0.9])
    table = Table(title=f"icshift analyze, ResNet-20 on {IMAGES:,} images, one thread, torch {torch.__version__}")
    for column in ("models", "s a model", "median ratio", "10 % to 90 %", "in all", "target"):
        table.add_column(column, justify="right")
    table.add_row(
        str(models),
        f"{np.median(without):.2f}",
        f"{np.median(ratios):.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{whole / without.sum():.3f}",
        f"{TARGET:.2f}",
    )
    Console().print(table)


if __name__ == "__main__":
    main()
