"""Checks on the network of Ioffe & Szegedy (2015), sec. 4.1: plain, with batch norm, with noise after batch norm.

The network of `icshift demo`, recorded by the recorder: snapshots of the inputs of its last hidden sigmoids, for all
1,400 training images in one batch, in train mode as in the paper's figure.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from icshift.api import open as open_run
from icshift.demo import BATCH, HIDDEN, WIDTH, Digits, network
from icshift.gradients.batch_norm_noise import BatchNormNoise
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.selfcheck.check import Check, Finding, Setting, figure
from icshift.selfcheck.digits import accuracy, digits

SNAPSHOT = 50
"""Steps from one snapshot to the next: the length of a path depends on it."""

STEADIER_MEDIAN, STEADIER_PATH = 2.0, 1.5
"""Ratios that `percentiles` asks for."""

EARLY_GAIN, GOOD, FASTER = 0.3, 0.8, 3.0
"""Gain in accuracy and ratio of steps to a `GOOD` one that `learning` asks for."""

SAME_ACCURACY, NOISIER = 0.03, 5.0
"""Difference of accuracies and ratio of paths that `noise` asks for."""


@dataclass(frozen=True)
class Training:
    """What was measured of one network in `steps` steps of gradient descent with this `rate`.

    `median_range`, `path` and `spread` are medians over the units of the last hidden layer.

    `median_range`: distance from the lowest to the highest median that a unit had. `path`: sum of the drifts (w1_sd)
    from one snapshot to the next over the second half of the training, when no network is on its first plateau
    any more: in sd of next to nothing, as they are there, everything is far. `spread`: sd of first and last snapshot.
    `accuracies`: on the test images, at every snapshot.
    """

    rate: float
    steps: int
    median_range: float
    path: float
    spread: tuple[float, float]
    accuracies: tuple[float, ...]

    @property
    def early(self) -> float:
        """Accuracy after a tenth of the steps."""
        return self.accuracies[len(self.accuracies) // 10 - 1]

    @property
    def late(self) -> float:
        """Mean accuracy of the last five snapshots."""
        return float(np.mean(self.accuracies[-5:]))

    @property
    def steps_to_good(self) -> float:
        """Steps up to the first snapshot with accuracy `GOOD`; infinite if there is none."""
        return next((SNAPSHOT * (i + 1) for i, accuracy in enumerate(self.accuracies) if accuracy >= GOOD), np.inf)


@cache
def trainings(setting: Setting) -> dict[str, Training]:
    """Trainings of the networks `plain`, `batch norm` and `noisy`, from the same weights and on the same batches."""
    models = {
        "plain": network(batch_norm=False, seed=setting.seed),
        "batch norm": network(batch_norm=True, seed=setting.seed),
        "noisy": noisy(network(batch_norm=True, seed=setting.seed)),
    }
    rate, steps = (0.5, 1000) if setting.quick else (0.1, 5000)
    return {name: _train(model, digits(), rate, steps, setting.seed) for name, model in models.items()}


def noisy(model: nn.Sequential) -> nn.Sequential:
    """A model of the same layers, with the noise of Santurkar et al. (2018) after each batch norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in model.named_children():
        layers[name] = module
        if isinstance(module, nn.BatchNorm1d):
            layers[name.replace("norm", "noise")] = BatchNormNoise(WIDTH)
    return nn.Sequential(layers)


def _train(model: nn.Sequential, data: Digits, rate: float, steps: int, seed: int) -> Training:
    names = [name for name, _ in model.named_children()]
    site = names[names.index(f"sigmoid{HIDDEN}") - 1]
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    shuffler = torch.Generator().manual_seed(seed)
    probe = Probe(data.train_images, batch_size=len(data.train_images), train_mode=True)
    accuracies = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        with Recorder(model, path, optimizer=optimizer, sites=[site], probe=probe) as recorder:
            for step in range(1, steps + 1):
                _step(model, data, optimizer, torch.randint(len(data.train_images), (BATCH,), generator=shuffler))
                if step % SNAPSHOT == 0:
                    with recorder.paused():
                        accuracies.append(accuracy(model, data.test_images, data.test_classes))
                    recorder.epoch(f"step {step}")
        return Training(rate, steps, *_measured(path), tuple(accuracies))


def _step(model: nn.Module, data: Digits, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(data.train_images[batch]), data.train_classes[batch]).backward()
    optimizer.step()


def _measured(path: Path) -> tuple[float, float, tuple[float, float]]:
    """`median_range`, `path` and `spread` of a `Training`, from the run that was recorded at a path."""
    run = open_run(path)
    windows = run.windows()
    windows = windows[windows["phase"] == "probe-train"]
    medians, spreads = windows.groupby("unit")["q50"], windows.groupby("window")["sd"].median()
    drift = run.drift("w1_sd", phase="probe-train")
    late = drift[drift["window"] > windows["window"].max() / 2]
    return (
        float((medians.max() - medians.min()).median()),
        float(late.groupby("unit")["value"].sum().median()),
        (float(spreads.iloc[0]), float(spreads.iloc[-1])),
    )


def judge_percentiles(plain: Training, normalised: Training) -> Finding:
    """Passes where both the range of the medians and the path are smaller with batch norm."""
    ranges, paths = (plain.median_range, normalised.median_range), (plain.path, normalised.path)
    return Finding(
        ranges[0] >= STEADIER_MEDIAN * ranges[1] and paths[0] >= STEADIER_PATH * paths[1],
        f"range {figure(ranges[0])} plain, {figure(ranges[1])} BN; path {figure(paths[0])} sd plain, "
        f"{figure(paths[1])} sd BN (medians of {WIDTH} units). The sd with BN went "
        f"{normalised.spread[0]:.2f} to {normalised.spread[1]:.2f}",
        f"{_ran(plain, 2)}, a snapshot of 1,400 images every {SNAPSHOT}",
        {
            "median_range_plain": ranges[0],
            "median_range_batch_norm": ranges[1],
            "path_plain_sd": paths[0],
            "path_batch_norm_sd": paths[1],
            "first_sd_batch_norm": normalised.spread[0],
            "last_sd_batch_norm": normalised.spread[1],
        },
    )


def judge_learning(plain: Training, normalised: Training) -> Finding:
    """Passes where batch norm is ahead after a tenth of the steps, and reaches `GOOD` in far fewer steps."""
    waits = plain.steps_to_good, normalised.steps_to_good
    never = f"not within {plain.steps:,}"
    told = [f"{wait:,.0f}" if np.isfinite(wait) else never for wait in waits]
    return Finding(
        normalised.early - plain.early >= EARLY_GAIN and FASTER * waits[1] <= waits[0] and waits[1] < np.inf,
        f"after {plain.steps // 10:,} steps {plain.early:.3f} plain, {normalised.early:.3f} BN; steps to {GOOD}: "
        f"{told[0]} plain, {told[1]} BN; at the end {plain.late:.3f}, {normalised.late:.3f} (n = 397 images)",
        _ran(plain, 2),
        {
            "early_accuracy_plain": plain.early,
            "early_accuracy_batch_norm": normalised.early,
            "steps_to_good_plain": waits[0],
            "steps_to_good_batch_norm": waits[1],
            "last_accuracy_plain": plain.late,
            "last_accuracy_batch_norm": normalised.late,
        },
    )


def judge_noise(normalised: Training, noisy: Training) -> Finding:
    """Passes where the noisy network is as accurate, and its path far longer."""
    apart = abs(noisy.late - normalised.late)
    return Finding(
        apart <= SAME_ACCURACY and noisy.path >= NOISIER * normalised.path,
        f"accuracy {normalised.late:.3f} BN, {noisy.late:.3f} noisy BN (n = 397 images); path "
        f"{figure(normalised.path)} sd BN, {figure(noisy.path)} sd noisy (median of {WIDTH} units)",
        _ran(normalised, 2),
        {
            "accuracy_batch_norm": normalised.late,
            "accuracy_noisy": noisy.late,
            "path_batch_norm_sd": normalised.path,
            "path_noisy_sd": noisy.path,
        },
    )


def _ran(training: Training, networks: int) -> str:
    return f"{networks} networks, {training.steps:,} steps of {BATCH} digits, rate {training.rate}"


def _chosen_trainings(setting: Setting, *names: str) -> list[Training]:
    return [trainings(setting)[name] for name in names]


CHECKS = (
    Check(
        "percentiles",
        "With batch norm the inputs of the last hidden sigmoids move less during training",
        "Ioffe & Szegedy 2015, Fig. 1b,c",
        f"plain / BN: range of a unit's median at least {STEADIER_MEDIAN:g}, path over the second half at least "
        f"{STEADIER_PATH:g}",
        lambda setting: judge_percentiles(*_chosen_trainings(setting, "plain", "batch norm")),
    ),
    Check(
        "learning",
        "With batch norm the network learns in fewer steps",
        "Ioffe & Szegedy 2015, Fig. 1a",
        f"test accuracy after a tenth of the steps at least {EARLY_GAIN} higher with BN; {GOOD} reached in at most a "
        "third of the steps",
        lambda setting: judge_learning(*_chosen_trainings(setting, "plain", "batch norm")),
    ),
    Check(
        "noise",
        "Noise after batch norm makes distributions unsteady and leaves the accuracy",
        "Santurkar et al. 2018, Fig. 2 and 8",
        f"test accuracies within {SAME_ACCURACY}; path noisy / BN at least {NOISIER:g}",
        lambda setting: judge_noise(*_chosen_trainings(setting, "batch norm", "noisy")),
    ),
)
