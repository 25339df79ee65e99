"""The check on smoothness along the gradient (Santurkar et al. 2018, Fig. 4), on networks that both learn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from icshift.demo import BATCH, WIDTH, Digits
from icshift.gradients.objective import Objective
from icshift.gradients.smoothness import STEPS, Smoothness, smoothness
from icshift.selfcheck.check import Check, Finding, Setting, figure
from icshift.selfcheck.digits import accuracy, digits

HIDDEN, RATE, EVERY = 4, 0.1, 10
FLATTER, PREDICTABLE, LEARNT = 5.0, 4.0, 0.8
"""Ratios of loss range and of gradient change, and the accuracy of both networks, that the check asks for."""


@dataclass(frozen=True)
class Training:
    """What was measured of one network in `steps` steps.

    `accuracy` on the test images in the end; `smoothness` at every `EVERY`th step, on the batch of that step.
    """

    steps: int
    accuracy: float
    smoothness: tuple[Smoothness, ...]

    @property
    def loss_range(self) -> float:
        """Between the highest and the lowest loss along the gradient: median over steps."""
        return float(np.median([along.loss_max - along.loss_min for along in self.smoothness]))

    @property
    def gradient_change(self) -> float:
        """The largest distance of the gradient along itself from what it was (Euclidean norm): median over steps."""
        return float(np.median([along.predictiveness_max for along in self.smoothness]))


def network(*, batch_norm: bool) -> nn.Sequential:
    """Four hidden layers of 100 ReLU units, with Glorot's initial weights."""
    model, inputs = nn.Sequential(), 64
    for _ in range(HIDDEN):
        model.append(nn.Linear(inputs, WIDTH, bias=not batch_norm))
        if batch_norm:
            model.append(nn.BatchNorm1d(WIDTH))
        model.append(nn.ReLU())
        inputs = WIDTH
    model.append(nn.Linear(WIDTH, 10))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight)
    return model


def train(data: Digits, *, batch_norm: bool, steps: int, seed: int) -> Training:
    """One network trained by gradient descent, with its smoothness on the batch of every `EVERY`th step."""
    torch.manual_seed(seed)
    model = network(batch_norm=batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    shuffler = torch.Generator().manual_seed(seed)
    along = []
    for step in range(steps):
        batch = torch.randint(len(data.train_images), (BATCH,), generator=shuffler)
        loss = partial(_loss, model, data, batch)
        if step % EVERY == 0:
            along.append(smoothness(Objective(model, loss), RATE, steps=STEPS))
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return Training(steps, accuracy(model, data.test_images, data.test_classes), tuple(along))


def _loss(model: nn.Module, data: Digits, batch: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(data.train_images[batch]), data.train_classes[batch])


def judge(plain: Training, normalised: Training) -> Finding:
    """Passes where batch norm makes the loss flatter and the gradient more predictable, and both networks have learnt.

    A network that does not learn looks flat.
    """
    ranges = plain.loss_range, normalised.loss_range
    changes = plain.gradient_change, normalised.gradient_change
    return Finding(
        ranges[0] >= FLATTER * ranges[1]
        and changes[0] >= PREDICTABLE * changes[1]
        and min(plain.accuracy, normalised.accuracy) >= LEARNT,
        f"loss range {figure(ranges[0])} plain, {figure(ranges[1])} BN; gradient change {figure(changes[0])} plain, "
        f"{figure(changes[1])} BN (medians of n = {len(plain.smoothness)} steps); accuracy {plain.accuracy:.3f}, "
        f"{normalised.accuracy:.3f} (n = 397 images)",
        f"2 networks with {HIDDEN} hidden ReLU layers, {plain.steps} steps of {BATCH} digits, rate {RATE}, "
        f"measured every {EVERY}",
        {
            "loss_range_plain": ranges[0],
            "loss_range_batch_norm": ranges[1],
            "gradient_change_plain": changes[0],
            "gradient_change_batch_norm": changes[1],
            "accuracy_plain": plain.accuracy,
            "accuracy_batch_norm": normalised.accuracy,
        },
    )


def _find(setting: Setting) -> Finding:
    steps = 200 if setting.quick else 600
    return judge(
        *(train(digits(), batch_norm=batch_norm, steps=steps, seed=setting.seed) for batch_norm in (False, True))
    )


CHECKS = (
    Check(
        "smoothness",
        "Along the gradient, loss and gradient vary less with batch norm",
        "Santurkar et al. 2018, Fig. 4a,b",
        f"0.5 to 4 rates along the gradient, plain / BN: loss range at least {FLATTER:g}, largest change of the "
        f"gradient at least {PREDICTABLE:g}; both networks learn (accuracy {LEARNT})",
        _find,
    ),
)
