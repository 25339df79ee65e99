"""The noise of Algorithm 1, by its distributions; each is read off activations chosen for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from icshift.errors import MeasurementError
from icshift.gradients.batch_norm_noise import BatchNormNoise
from icshift.gradients.objective import Objective

UNITS, EXAMPLES, LEAST = 400, 2000, 1e-3


def noise_of(value: float, layer: BatchNormNoise) -> np.ndarray:
    """What the layer adds to, or multiplies, activations that all have one value: [examples, units]."""
    torch.manual_seed(0)
    out = layer(torch.full((EXAMPLES, layer.units), value, dtype=torch.float64))
    return (out if value == 0 else out / value).numpy()


def fits(values: np.ndarray, distribution: object) -> bool:
    return stats.kstest(values, distribution.cdf).pvalue > LEAST


@pytest.mark.parametrize(("mean", "jitter"), [(0.5, 0.1), (2.0, 0.3)])
def test_shifts_are_uniform_around_a_uniform_mean_a_unit(mean: float, jitter: float) -> None:
    shifts = noise_of(0.0, BatchNormNoise(UNITS, mean=mean, jitter=jitter))
    centres = shifts.mean(0)
    assert fits(centres, stats.uniform(-mean, 2 * mean))
    assert (np.ptp(shifts, axis=0) <= 2 * jitter).all()
    assert np.abs(shifts).max() <= mean + jitter
    # Halfway between the ends, which 2000 examples know to a thousandth, lies a unit's own mean.
    middle = (shifts.max(0) + shifts.min(0)) / 2
    assert fits((shifts - middle).ravel()[:: UNITS + 1], stats.uniform(-jitter, 2 * jitter))
    assert abs(np.corrcoef(shifts[:, 0], shifts[:, 1])[0, 1]) < 5 / EXAMPLES**0.5


@pytest.mark.parametrize(("sd", "jitter"), [(1.25, 0.1), (3.0, 0.2)])
def test_scales_are_normal_around_a_uniform_scale_a_unit(sd: float, jitter: float) -> None:
    scales = noise_of(1e9, BatchNormNoise(UNITS, sd=sd, jitter=jitter))  # The shifts vanish beside it.
    centres = scales.mean(0)
    within = scales.std(0, ddof=1)
    assert fits(centres, stats.uniform(1, sd - 1))
    assert within == pytest.approx(jitter, rel=6 / (2 * EXAMPLES) ** 0.5)
    assert fits(((scales - centres) / within).ravel()[:: UNITS + 1], stats.norm())
    assert abs(np.corrcoef(scales[:, 0], scales[:, 1])[0, 1]) < 5 / EXAMPLES**0.5


def test_the_defaults_are_the_papers() -> None:
    layer = BatchNormNoise(UNITS)
    assert (layer.mean, layer.sd, layer.jitter) == (0.5, 1.25, 0.1)
    assert repr(layer) == "BatchNormNoise(400, mean=0.5, sd=1.25, jitter=0.1)"


def test_every_forward_draws_anew() -> None:
    layer = BatchNormNoise(UNITS)
    first, second = (layer(torch.zeros(EXAMPLES, UNITS)).mean(0) for _ in range(2))
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 5 / UNITS**0.5


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 6), (7, 5, 6, 4), (7, 5, 2, 2, 2)])
def test_positions_count_as_examples(shape: tuple[int, ...]) -> None:
    """Shifts stay near their unit's over all positions, and no two positions share one."""
    layer = BatchNormNoise(5, jitter=0.01)
    found = layer(torch.zeros(shape, dtype=torch.float64)).transpose(0, 1).reshape(5, -1)
    assert found.shape == (5, np.prod(shape) // 5)
    assert (found.max(1).values - found.min(1).values).max() <= 0.02
    assert float(found.mean(1).std()) > 0.05
    assert all(len(unit.unique()) == len(unit) for unit in found)


def test_eval_mode_is_the_identity_and_draws_nothing() -> None:
    layer = BatchNormNoise(3).eval()
    activations, drawn = torch.randn(4, 3), torch.get_rng_state()
    assert layer(activations) is activations
    assert torch.equal(torch.get_rng_state(), drawn)


def test_noise_is_a_constant_to_the_gradient_and_keeps_the_type() -> None:
    layer = BatchNormNoise(3)
    activations = torch.ones(8, 3, dtype=torch.bfloat16).requires_grad_()
    out = layer(activations)
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert activations.grad.float().min() > 0.4
    assert list(layer.parameters()) == list(layer.buffers()) == []


def test_an_objective_with_noise_is_one_function() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), BatchNormNoise(6), nn.Linear(6, 2))
    inputs = torch.randn(10, 4)

    def closure() -> Tensor:
        return model(inputs).square().mean()

    objective = Objective(model, closure)
    assert objective.loss() == objective.loss()
    closure()  # Draws on.
    assert objective.loss() != Objective(model, closure).loss()


@pytest.mark.parametrize("shape", [(6,), (2, 4), (2, 4, 3)])
def test_units_that_are_not_on_axis_1(shape: tuple[int, ...]) -> None:
    with pytest.raises(MeasurementError, match=r"expected 3 units on axis 1, got shape \["):
        BatchNormNoise(3)(torch.zeros(shape))
