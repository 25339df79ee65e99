"""Checks on the statistics of batch norm: precise ones early in a training, and those of shifted data.

Digits, three hidden layers of 100 ReLU units with batch norm, plain gradient descent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from icshift.analysis.staleness import source_normalised
from icshift.demo import BATCH, WIDTH, Digits
from icshift.hooks.batch_norm import InputStatistics, Statistics, normalisations, running_statistics, using
from icshift.model.undisturbed import undisturbed
from icshift.replay.batch_norm import precise_statistics
from icshift.selfcheck.check import Check, Finding, Setting
from icshift.selfcheck.digits import accuracy, digits

HIDDEN, RATE = 3, 0.1
EARLY, LATE = 5, 400
EARLY_GAIN, LATE_DIFFERENCE = 0.1, 0.02
"""Accuracy that precise statistics gain after `EARLY` steps, and may differ by in the end."""

LOST, RECOVERED = 0.05, 0.03
"""Accuracy that shifted data cost at least, and how near to that on clean data adaptation has to bring it."""

SEVERITIES: dict[str, tuple[float, ...]] = {
    "contrast": (0.75, 0.5, 0.25),
    "brightness": (0.15, 0.3, 0.6),
    "noise": (0.1, 0.3, 0.6),
}
"""Of increasing severity."""

AFFINE = ("contrast", "brightness")


@dataclass(frozen=True)
class Exposure:
    """A trained network on shifted data of some severity.

    `source` and `adapted` are its accuracies with the statistics of its training and with those of the shifted data;
    `distance` is the source-normalised W~ (Schneider et al. 2020) of its layers' inputs, in sd: root mean square over
    units, mean over layers.
    """

    severity: float
    source: float
    adapted: float
    distance: float


def network() -> nn.Sequential:
    """A network of `HIDDEN` layers without bias, each before batch norm and ReLU, with torch's initial weights."""
    model, inputs = nn.Sequential(), 64
    for _ in range(HIDDEN):
        model.extend([nn.Linear(inputs, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.ReLU()])
        inputs = WIDTH
    return model.append(nn.Linear(WIDTH, 10))


def train(data: Digits, *, steps: int, seed: int, at: Callable[[int, nn.Module], None] | None = None) -> nn.Module:
    """The network after so many steps of gradient descent; `at` is called after each, with its number, from 1."""
    torch.manual_seed(seed)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    shuffler = torch.Generator().manual_seed(seed)
    for step in range(1, steps + 1):
        batch = torch.randint(len(data.train_images), (BATCH,), generator=shuffler)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.train_images[batch]), data.train_classes[batch]).backward()
        optimizer.step()
        if at is not None:
            at(step, model)
    return model


def compare_statistics(data: Digits, *, steps: int, seed: int) -> list[tuple[float, float]]:
    """Accuracies (running, precise statistics) after `EARLY` steps and after all of them."""
    accuracies = []

    def measure(step: int, model: nn.Module) -> None:
        if step in (EARLY, steps):
            running = accuracy(model, data.test_images, data.test_classes)
            with using(model, precise_statistics(model, data.train_images)):
                accuracies.append((running, accuracy(model, data.test_images, data.test_classes)))

    train(data, steps=steps, seed=seed, at=measure)
    return accuracies


def judge_precise(accuracies: Sequence[Sequence[tuple[float, float]]], steps: int) -> Finding:
    """Passes where precise statistics gain accuracy early and none in the end, in the mean over networks.

    `accuracies` [networks][early, late] are those of (running, precise) statistics.
    """
    (early_running, early), (late_running, late) = np.mean(accuracies, axis=0)
    return Finding(
        bool(early - early_running >= EARLY_GAIN and abs(late - late_running) <= LATE_DIFFERENCE),
        f"step {EARLY}: {early_running:.3f} running, {early:.3f} precise; step {steps}: {late_running:.3f} running, "
        f"{late:.3f} precise (n = {len(accuracies)} networks, 397 images)",
        f"{len(accuracies)} networks, {steps} steps of {BATCH} digits, rate {RATE}, momentum of the average 0.1",
        {
            "early_accuracy_running": float(early_running),
            "early_accuracy_precise": float(early),
            "late_accuracy_running": float(late_running),
            "late_accuracy_precise": float(late),
        },
    )


def expose(model: nn.Module, data: Digits, seed: int) -> dict[str, list[Exposure]]:
    """The network on the test images in every corruption, at every severity in increasing order."""
    exposures: dict[str, list[Exposure]] = {}
    noise = torch.randn(data.test_images.shape, generator=torch.Generator().manual_seed(seed))
    for name, severities in SEVERITIES.items():
        for severity in severities:
            images = _corrupted(data.test_images, name, severity, noise)
            source = accuracy(model, images, data.test_classes)
            distance = _distance(model, images)
            with using(model, precise_statistics(model, images, batch_size=len(images))):
                adapted = accuracy(model, images, data.test_classes)
            exposures.setdefault(name, []).append(Exposure(severity, source, adapted, distance))
    return exposures


def _corrupted(images: Tensor, name: str, severity: float, noise: Tensor) -> Tensor:
    if name == "contrast":
        return images * severity
    return images + (severity if name == "brightness" else severity * noise)


def _distance(model: nn.Module, images: Tensor) -> float:
    """Mean over layers of W~ between running statistics and those of the images, as eval mode sends them through."""
    with undisturbed(model), InputStatistics(model) as inputs:
        model.eval()
        model(images)
        inputs.end_forward()
    layers, running = normalisations(model), running_statistics(model)
    return float(
        np.mean(
            [
                source_normalised(_moments(running[name], layer.eps), _moments(inputs.by_layer[name][0], layer.eps))
                for name, layer in layers.items()
            ]
        )
    )


def _moments(statistics: Statistics, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations as batch norm normalises by them, with its eps."""
    return statistics.mean.numpy(), np.sqrt(statistics.variance.numpy() + eps)


def judge_adaptation(clean: float, found: Mapping[str, Sequence[Exposure]]) -> Finding:
    """Passes where adapting undoes the worst affine shifts, and W~ grows with the severity of each corruption."""
    worst = [found[name][-1] for name in AFFINE]
    recovered = all(one.source <= clean - LOST and one.adapted >= clean - RECOVERED for one in worst)
    distances = {name: [one.distance for one in exposures] for name, exposures in found.items()}
    ordered = all(bool(np.all(np.diff(values) > 0)) for values in distances.values())
    told = "; ".join(
        f"{name} {one.severity:g}: {one.source:.3f} to {one.adapted:.3f}"
        for name, one in zip(AFFINE, worst, strict=True)
    )
    return Finding(
        recovered and ordered,
        f"clean {clean:.3f}; {told} (n = 397 images); W~ "
        + "; ".join(f"{name} {', '.join(f'{value:.2f}' for value in values)}" for name, values in distances.items()),
        f"1 network, {LATE} steps of {BATCH} digits, rate {RATE}; three severities of each corruption",
        {
            "clean_accuracy": clean,
            **{f"{name}_accuracy_source": one.source for name, one in zip(AFFINE, worst, strict=True)},
            **{f"{name}_accuracy_adapted": one.adapted for name, one in zip(AFFINE, worst, strict=True)},
            **{f"{name}_distance_{i}": v for name, values in distances.items() for i, v in enumerate(values, 1)},
        },
    )


def _find_precise(setting: Setting) -> Finding:
    steps, networks = (200, 3) if setting.quick else (LATE, 6)
    seeds = [10 * setting.seed + replica for replica in range(networks)]
    return judge_precise([compare_statistics(digits(), steps=steps, seed=seed) for seed in seeds], steps)


def _find_adaptation(setting: Setting) -> Finding:
    data = digits()
    model = train(data, steps=LATE, seed=setting.seed)
    clean = accuracy(model, data.test_images, data.test_classes)
    return judge_adaptation(clean, expose(model, data, setting.seed))


CHECKS = (
    Check(
        "precise",
        "Early in a training running averages misstate the statistics that precise ones give; later both agree",
        "Wu & Johnson 2021",
        f"test accuracy at step {EARLY} at least {EARLY_GAIN} higher with precise statistics; within "
        f"{LATE_DIFFERENCE} at the end",
        _find_precise,
    ),
    Check(
        "adaptation",
        "Statistics of the shifted data undo an affine shift; the distance W~ grows with its severity",
        "Schneider et al. 2020",
        f"contrast x 0.25, brightness + 0.6: accuracy lost at least {LOST}, adapted within {RECOVERED} of clean; "
        "W~ increasing with each severity within a corruption",
        _find_adaptation,
    ),
)
