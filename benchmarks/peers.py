"""What recorders of activations cost beside icshift: the time of training steps with each over the time without.

    python benchmarks/peers.py [pairs] [workload…]

All watch the outputs of the same modules, at every step, with their own code: nothing is written anew here. A stretch
of steps without comes before each stretch with; the ratio is that of the two neighbours, of which the median and the
spread are shown, and the same of processor time, which a busy machine changes less (what Weights & Biases does in a
process of its own is not in it). All take turns. `torch.sum` reads each activation once and keeps nothing: below it
nobody comes. What icshift costs with all that is written and every window that ends is in `benchmarks/overhead.py`.
What is not installed is left out; `benchmarks/peers.txt` lists it.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from workloads import WORKLOADS, Workload

import icshift
from icshift.model.sites import Sites, choose_sites

Peer = Callable[[Workload, Path], Any]
"""Makes a block within which a peer watches; the block gives what is to be called after every step, if anything."""


def watched(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that icshift watches by default."""
    return [*choose_sites(model, Sites()).items()]


def on_outputs(act: Callable[[str, torch.Tensor], Any]) -> Peer:
    """A peer that does something with every output."""

    @contextmanager
    def block(workload: Workload, _: Path) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, module in watched(workload.model):
                hooks.callback(module.register_forward_hook(partial(_hook, act, name)).remove)
            yield

    return block


def _hook(act: Callable[[str, torch.Tensor], Any], name: str, _: nn.Module, __: Any, output: torch.Tensor) -> None:
    act(name, output.detach())


@contextmanager
def reads_once(workload: Workload, folder: Path) -> Iterator[None]:
    """`torch.sum` of every output."""
    with on_outputs(lambda _, output: output.sum())(workload, folder):
        yield


@contextmanager
def fastai(workload: Workload, _: Path, *, histogram: bool) -> Iterator[Callable[[], None]]:
    """Three numbers of every output, and a histogram of 40 bins where asked for, by fastai's own callback and hooks."""
    from fastai.callback.hook import ActivationStats, Hooks

    stats, kept = ActivationStats(with_hist=histogram), []
    with Hooks([module for _, module in watched(workload.model)], stats.hook) as hooks:
        yield lambda: kept.append(hooks.stored)


@contextmanager
def wandb(workload: Workload, folder: Path) -> Iterator[Callable[[], None]]:
    """A histogram of every output in an offline run of Weights & Biases, by the code of its `watch`."""
    import wandb
    from wandb.integration.torch.wandb_torch import TorchHistory

    with wandb.init(mode="offline", dir=folder, settings=wandb.Settings(silent=True)) as run:
        history = TorchHistory()
        history._num_bins, history._is_cuda_histc_supported = 64, None
        with on_outputs(lambda name, output: history.log_tensor_stats(output, name))(workload, folder):
            yield lambda: run.log({}, commit=True)


@contextmanager
def tensorboard(workload: Workload, folder: Path) -> Iterator[None]:
    """A histogram of every output in TensorBoard."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer, on_outputs(writer.add_histogram)(workload, folder):
        yield


@contextmanager
def observers(workload: Workload, folder: Path) -> Iterator[None]:
    """PyTorch's own HistogramObserver of every output, as quantisation uses it."""
    from torch.ao.quantization import HistogramObserver

    made = {name: HistogramObserver() for name, _ in watched(workload.model)}
    with on_outputs(lambda name, output: made[name].forward(output))(workload, folder):
        yield


@contextmanager
def delve(workload: Workload, folder: Path) -> Iterator[None]:
    """Covariances of linear and convolutional layers' outputs, for their saturation."""
    from delve import SaturationTracker

    logging.getLogger("delve.logger").setLevel(logging.WARNING)
    tracker = SaturationTracker(str(folder / "delve"), save_to="csv", modules=workload.model, device="cpu")
    try:
        yield
    finally:
        tracker.close()


@contextmanager
def ours(workload: Workload, folder: Path, **options: Any) -> Iterator[None]:
    """icshift's recorder."""
    with icshift.Recorder(workload.model, folder / "run", optimizer=workload.optimizer, **options):
        yield


PEERS: dict[str, Peer] = {
    "torch.sum": reads_once,
    "icshift": ours,
    "icshift, samples='all'": partial(ours, samples="all"),
    "fastai, three numbers": partial(fastai, histogram=False),
    "fastai with histogram": partial(fastai, histogram=True),
    "Weights & Biases": wandb,
    "TensorBoard": tensorboard,
    "HistogramObserver": observers,
    "delve": delve,
}


def stretch(workload: Workload, after: Callable[[], None] | None) -> np.ndarray:
    """Seconds of one stretch of steps, and processor seconds of all threads of this process."""
    started = np.array([time.perf_counter(), time.process_time()])
    for _ in range(workload.steps):
        workload.step()
        if after is not None:
            after()
    return np.array([time.perf_counter(), time.process_time()]) - started


def ratios(workload: Workload, pairs: int) -> dict[str, np.ndarray]:
    """The ratios [pairs, 2] of stretches, of both times, by peer: who takes turns sees the same hours of a machine."""
    found: dict[str, list[np.ndarray]] = {label: [] for label in PEERS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(pairs):
            for number, label in enumerate([*found]):
                place = Path(folder) / f"{turn}-{number}"
                place.mkdir()
                try:
                    found[label].append(_ratio(workload, PEERS[label], place))
                except ImportError:
                    del found[label]
    return {label: np.array(of) for label, of in found.items()}


def _ratio(workload: Workload, peer: Peer, place: Path) -> np.ndarray:
    workload.step()
    bare = stretch(workload, None)
    with peer(workload, place) as after:
        workload.step()
        return stretch(workload, after) / bare


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    chosen = sys.argv[2:] or list(WORKLOADS)
    torch.set_num_threads(1)
    for name in chosen:
        torch.manual_seed(0)
        table = Table(title=f"{name}: {pairs} pairs of stretches, one thread, torch {torch.__version__}")
        for column in ("", "median ratio", "10 % to 90 %", "of processor time", "10 % to 90 %"):
            table.add_column(column, justify="right" if column else "left")
        for label, of in ratios(WORKLOADS[name](), pairs).items():
            low, middle, high = np.quantile(of, [0.1, 0.5, 0.9], axis=0)
            shown = ((f"{middle[at]:.2f}", f"{low[at]:.2f} to {high[at]:.2f}") for at in (0, 1))
            table.add_row(label, *(cell for pair in shown for cell in pair))
        Console().print(table)


if __name__ == "__main__":
    main()
