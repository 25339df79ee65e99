"""Checks on the deep linear network of Santurkar et al. (2018): 25 layers of 10 x 10 and no non-linearity.

x Gaussian, target Ax, 1,000 samples, the summed squared error, full-batch gradient descent (sec. 2.3 and appendix A).
Rate 1e-7, at which their Fig. 3(b) separates the two networks; at 1e-6 its curves overlap, and nothing is asserted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from icshift.gradients.gradient_shift import LayerShift, Step
from icshift.gradients.objective import Objective
from icshift.gradients.smoothness import Smoothness, smoothness
from icshift.selfcheck.check import Check, Finding, Setting, figure

LAYERS, WIDTH, SAMPLES = 25, 10, 1000
RATE, STEPS, EVERY = 1e-7, 1000, 25
LAYER = "fc17"
"""One of the two layers in the paper's figure."""

LENGTHS = (0.01, 0.1, 1.0, 10.0, 30.0)
"""Multiples of the rate: the paper's range for this network, 1/100 to 30, whose points are not published."""

LARGER, ALIGNED, UNCORRELATED = 30.0, 0.8, 0.6
"""Ratio of ‖G - G'‖, and mean cosines without and with batch norm, that `deep-linear` asks for."""

_RAN = f"{STEPS:,} steps, rate 1e-7, measured every {EVERY}"

BETA = (1.9, 2.1)
"""Between these has beta times the rate to be for `smoothness`."""


@dataclass(frozen=True)
class Descent:
    """What was measured of one network while it descended.

    `loss` is the mean over the last tenth of the steps; `shifts` are those of `LAYER`, one a measured step;
    `smoothness` is of the second half, where beta has reached its plateau; a plain network has none.
    """

    loss: float
    shifts: tuple[LayerShift, ...]
    smoothness: tuple[Smoothness, ...]


@cache
def descents(setting: Setting) -> dict[str, tuple[Descent, ...]]:
    """Descents of both kinds of network, under `plain` and `batch norm`; equal places have equal seeds."""
    replicas = range(2 if setting.quick else 4)
    return {
        name: tuple(descend(batch_norm=name == "batch norm", seed=10 * setting.seed + replica) for replica in replicas)
        for name in ("plain", "batch norm")
    }


def network(*, batch_norm: bool) -> nn.Sequential:
    """fc1 … fc25 with Glorot's initial weights, norm1 … norm24 after all but the last where asked for."""
    model = nn.Sequential()
    for i in range(1, LAYERS + 1):
        layer = nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.xavier_normal_(layer.weight)
        model.add_module(f"fc{i}", layer)
        if batch_norm and i < LAYERS:
            model.add_module(f"norm{i}", nn.BatchNorm1d(WIDTH))
    return model


def descend(*, batch_norm: bool, seed: int, steps: int = STEPS) -> Descent:
    """Full-batch gradient descent on one network, measured every `EVERY` steps, all of it following from `seed`."""
    torch.manual_seed(seed)
    inputs, target = torch.randn(SAMPLES, WIDTH), torch.randn(WIDTH, WIDTH)
    model = network(batch_norm=batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    def loss() -> Tensor:
        return (model(inputs) - inputs @ target.T).square().sum()

    losses, shifts, along = [], [], []
    for number in range(steps):
        step = None
        if number % EVERY == 0:
            objective = Objective(model, loss)
            step = Step(objective, layers=LAYER)
            if batch_norm and number >= steps // 2:
                along.append(smoothness(objective, RATE, steps=LENGTHS))
        optimizer.zero_grad()
        now = loss()
        now.backward()
        optimizer.step()
        losses.append(now.item())
        if step is not None:
            shifts += step.measure()
    return Descent(float(np.mean(losses[-steps // 10 :])), tuple(shifts), tuple(along))


def judge_gradient_shift(plain: tuple[Descent, ...], normalised: tuple[Descent, ...]) -> Finding:
    """Passes where with batch norm the loss is lower, the gradient shift larger, and the gradient turns."""
    both = plain, normalised
    loss = [float(np.mean([descent.loss for descent in descents])) for descents in both]
    # Shifts of plain networks differ by factors of 40: what is typical of them is their geometric mean.
    l2 = [float(np.exp(np.mean(np.log(_of_shifts(descents, "l2"))))) for descents in both]
    cosine = [float(np.mean(_of_shifts(descents, "cosine"))) for descents in both]
    return Finding(
        loss[1] < loss[0] and l2[1] >= LARGER * l2[0] and cosine[0] >= ALIGNED and cosine[1] <= UNCORRELATED,
        f"geometric mean of ‖G - G'‖ {figure(l2[0])} plain, {figure(l2[1])} BN; mean cosine {cosine[0]:.3f} plain, "
        f"{cosine[1]:.2f} BN (layer 17, n = {len(_of_shifts(plain, 'l2'))} steps); loss {figure(loss[0])} plain, "
        f"{figure(loss[1])} BN",
        f"{len(plain)} networks of each kind, {_RAN}",
        {
            "l2_plain": l2[0],
            "l2_batch_norm": l2[1],
            "cosine_plain": cosine[0],
            "cosine_batch_norm": cosine[1],
            "loss_plain": loss[0],
            "loss_batch_norm": loss[1],
        },
    )


def judge_smoothness(normalised: tuple[Descent, ...]) -> Finding:
    """Passes where the median of beta times the rate lies within `BETA`; not where nothing was measured."""
    betas = [along.beta_rate for descent in normalised for along in descent.smoothness]
    beta = float(np.median(betas)) if betas else np.nan
    return Finding(
        BETA[0] <= beta <= BETA[1],
        f"{beta:.3f}, median of n = {len(betas)} steps in the second half",
        f"{len(normalised)} networks with BN, {_RAN}; lengths 1/100, 1/10, 1, 10, 30 x rate",
        {"beta_rate": beta},
    )


def _of_shifts(descents: tuple[Descent, ...], name: str) -> list[float]:
    """This attribute of all gradient shifts of these networks."""
    return [getattr(shift, name) for descent in descents for shift in descent.shifts]


CHECKS = (
    Check(
        "deep-linear",
        "Batch norm learns faster in a deep linear network, and its gradient shift is far larger, not smaller",
        "Santurkar et al. 2018, Fig. 3b (rate 1e-7)",
        f"with BN: lower loss, ‖G - G'‖ of layer 17 at least {LARGER:g} times as large, mean cos(G, G') at most "
        f"{UNCORRELATED} where plain has at least {ALIGNED}",
        lambda setting: judge_gradient_shift(*descents(setting).values()),
    ),
    Check(
        "smoothness",
        "Effective beta of the same network with batch norm stays on a plateau, at the limit of stability 2 / rate",
        "Santurkar et al. 2018, Fig. 10c (plateau); Cohen et al. 2021 (2 / rate)",
        f"beta x rate from {BETA[0]} to {BETA[1]}",
        lambda setting: judge_smoothness(descents(setting)["batch norm"]),
    ),
)
