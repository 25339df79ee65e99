"""Checks on the deep linear network of Santurkar et al. (2018): 25 layers of 10 x 10 and no non-linearity.

x Gaussian, target Ax, 1,000 samples, the summed squared error, full-batch gradient descent (sec. 2.3 and appendix A).
Rate 1e-7, at which their Fig. 3(b) separates the two networks; at 1e-6 its curves overlap, and nothing is asserted.

What is asserted is of the first steps. Plain networks get steeper while they descend, and some reach the limit of
stability (2 / rate) within 1,000 steps: there their gradients turn with every step as well, so that the mean cosine of
two networks was 0.5 or even below 0 with some seeds. Over the first steps no plain network is that far.
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
RATE, STEPS, EVERY, PLATEAU = 1e-7, 300, 25, 200
LAYER = "fc17"
"""One of the two layers in the paper's figure."""

LENGTHS = (0.01, 0.1, 1.0, 10.0, 30.0)
"""Multiples of the rate: the paper's range for this network, 1/100 to 30, whose points are not published."""

LARGER, RELATIVELY = 10.0, 3.0
"""Ratios of ‖G - G'‖, and of ‖G - G'‖ / ‖G‖, with batch norm and without, that `deep-linear` asks for."""

ALIGNED, UNCORRELATED = 0.8, 0.7
"""Mean cosines without and with batch norm that it asks for."""

NETWORKS = {True: 4, False: 8}
"""Networks of each kind, by whether it is quick: from network to network shifts differ by factors of 60."""

_RAN = f"{STEPS:,} steps, rate 1e-7, measured every {EVERY}"

BETA = (1.8, 2.4)
"""Between these has beta times the rate to be for `effective-beta`: it hovers at 2 or just above (Cohen et al. 2021).

Soon after the plateau is reached it still swings, in a third of the steps to between 2.1 and 2.7.
"""

REACHED = 1.0
"""Beta rises to its plateau from far below (progressive sharpening): a network with less all the time is on its way.

By step 200 that is one in twenty.
"""


@dataclass(frozen=True)
class Descent:
    """What was measured of one network while it descended.

    `loss` is the mean over the last tenth of the steps; `shifts` are those of `LAYER`, one a measured step;
    `smoothness` is from step `PLATEAU` on, where beta has reached its own; a plain network has none.
    """

    loss: float
    shifts: tuple[LayerShift, ...]
    smoothness: tuple[Smoothness, ...]


@cache
def descents(setting: Setting) -> dict[str, tuple[Descent, ...]]:
    """Descents of both kinds of network, under `plain` and `batch norm`; equal places have equal seeds."""
    replicas = range(NETWORKS[setting.quick])
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
            if batch_norm and number >= PLATEAU:
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
    """Passes where with batch norm the loss is lower, the gradient shift larger, and the gradient turns.

    Losses are compared network by network, from the same data, and the median of the ratios counts: a single network
    may learn no faster. Shifts of plain networks differ by factors of 60: what is typical of them is their geometric
    mean.
    """
    both = plain, normalised
    l2 = [_geometric_mean([shift.l2 for shift in _shifts(one)]) for one in both]
    relative = [_geometric_mean([shift.l2 / shift.norm for shift in _shifts(one)]) for one in both]
    cosine = [float(np.mean([shift.cosine for shift in _shifts(one)])) for one in both]
    loss = float(np.median([one.loss / other.loss for one, other in zip(plain, normalised, strict=True)]))
    return Finding(
        loss > 1
        and l2[1] >= LARGER * l2[0]
        and relative[1] >= RELATIVELY * relative[0]
        and cosine[0] >= ALIGNED
        and cosine[1] <= UNCORRELATED,
        f"geometric mean of ‖G - G'‖ {figure(l2[0])} plain, {figure(l2[1])} BN; over ‖G‖ {figure(relative[0])} and "
        f"{figure(relative[1])}; mean cosine {cosine[0]:.3f} plain, {cosine[1]:.2f} BN (layer 17, n = "
        f"{len(_shifts(plain))} steps of {len(plain)} networks); loss plain / BN {loss:.2f} (median)",
        f"{len(plain)} networks of each kind, {_RAN}",
        {
            "l2_plain": l2[0],
            "l2_batch_norm": l2[1],
            "relative_plain": relative[0],
            "relative_batch_norm": relative[1],
            "cosine_plain": cosine[0],
            "cosine_batch_norm": cosine[1],
            "loss_ratio": loss,
        },
    )


def judge_smoothness(normalised: tuple[Descent, ...]) -> Finding:
    """Passes where the median of beta times the rate lies within `BETA`, over networks that have reached the plateau.

    A network has where any of its values is at least `REACHED`; at least half of them have to. Not where nothing was
    measured.
    """
    measured = [[along.beta_rate for along in descent.smoothness] for descent in normalised]
    reached = [betas for betas in measured if betas and max(betas) >= REACHED]
    beta = float(np.median(np.concatenate(reached))) if reached else np.nan
    return Finding(
        BETA[0] <= beta <= BETA[1] and 2 * len(reached) >= len(measured),
        f"{beta:.3f}, median of n = {sum(map(len, reached))} steps from {PLATEAU} on; on the plateau are "
        f"{len(reached)} of {len(measured)} networks",
        f"{len(normalised)} networks with BN, {_RAN}; lengths 1/100, 1/10, 1, 10, 30 x rate",
        {"beta_rate": beta, "networks_on_the_plateau": len(reached)},
    )


def _shifts(descents: tuple[Descent, ...]) -> list[LayerShift]:
    """All gradient shifts of these networks."""
    return [shift for descent in descents for shift in descent.shifts]


def _geometric_mean(values: list[float]) -> float:
    return float(np.exp(np.mean(np.log(values))))


CHECKS = (
    Check(
        "deep-linear",
        "Batch norm learns faster in a deep linear network, while its gradient shift is far larger, not smaller",
        "Santurkar et al. 2018, Fig. 3b (rate 1e-7)",
        f"with BN: lower loss, ‖G - G'‖ of layer 17 at least {LARGER:g} times as large ({RELATIVELY:g} times in ‖G‖), "
        f"mean cos(G, G') at most {UNCORRELATED} where plain has at least {ALIGNED}",
        lambda setting: judge_gradient_shift(*descents(setting).values()),
    ),
    Check(
        "effective-beta",
        "Effective beta of the same network with batch norm stays on a plateau, at or just above 2 / rate",
        "Santurkar et al. 2018, Fig. 10c (plateau); Cohen et al. 2021 (2 / rate)",
        f"beta x rate from {BETA[0]} to {BETA[1]}, on at least half of the networks",
        lambda setting: judge_smoothness(descents(setting)["batch norm"]),
    ),
)
