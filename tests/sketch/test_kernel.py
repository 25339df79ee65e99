"""What every kernel computes, against NumPy value by value."""

import numpy as np
import pytest
import torch

from icshift.runs.format import STEP_QUANTILES
from icshift.sketch.kernel_numpy import NumPy
from icshift.sketch.moments import from_tensor
from icshift.sketch.sampler import Sampler
from icshift.sketch.workspace import Workspace
from tests.sketch.test_moments import assert_right
from tests.zoo.distributions import BROKEN, ZOO, draw, scale

pytestmark = pytest.mark.usefixtures("either_kernel")

OUT_OF_RANGE = {
    "rare": lambda values: np.where(np.arange(values.shape[1]) % 97 == 0, values, 0),
    "squares beyond float32": lambda values: values * 2.0**70,
    "squares below float32": lambda values: values * 2.0**-80,
    "an outlier first": lambda values: np.where(np.arange(values.shape[1]) == 0, 1e4, values),
}


def layouts(values, dtype):
    """Values [units, n] as activations in the ways in which a hook meets them."""
    units = len(values)
    rows = torch.tensor(values.T.copy(), dtype=dtype)
    yield "rows", rows
    yield "rows of a wider tensor", torch.cat([rows, rows], 1)[:, :units]
    yield "every second row", torch.stack([rows, rows + 1], 1)[:, 0]
    positions = rows.reshape(-1, 12, units).transpose(1, 2)
    yield "positions", positions.contiguous()
    yield "positions of every second row", torch.stack([positions, positions + 1], 1)[:, 0]
    yield "units innermost", positions
    yield "many positions", rows.reshape(2, -1, units).transpose(1, 2).contiguous()
    yield "a row again and again", rows[:1].expand(len(rows), units)


def taken(kernel, activations, samples, seed=3, first=0, centre=np.nan):
    """Sampled rows, the moments, and the sampler's own idea of these rows."""
    dtype = activations.numpy().dtype.type
    units, workspace = activations.shape[1], Workspace()
    n = min(activations.numel() // units, samples)
    rows, guess = kernel(dtype).rows(first + n, units), np.full(units, centre, dtype)
    rows[:] = -77
    table = kernel(dtype).take(
        activations, Sampler(samples, np.random.default_rng(seed)), rows, first, guess, workspace
    )
    assert (rows[:first] == -77).all()
    return rows[first:], table, Sampler(samples, np.random.default_rng(seed)).rows(activations).numpy()


def by_unit(activations):
    moved = activations.double().transpose(0, 1).flatten(1)
    return moved.numpy()


@pytest.mark.some(18)
@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("samples", [7, 10_000])
@pytest.mark.parametrize("name", ZOO)
def test_samples_are_those_of_the_sampler_in_every_layout(name, samples, dtype, either_kernel):
    for layout, activations in layouts(draw(name, 1200, units=19), dtype):
        rows, table, expected = taken(either_kernel, activations, samples, first=2)
        np.testing.assert_array_equal(rows, expected, err_msg=layout)
        assert (table is None) == (samples > 1200)


@pytest.mark.some(16)
@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("centre", [np.nan, 0.0, 1e3])
@pytest.mark.parametrize("name", ZOO)
def test_moments_are_those_of_all_activations_whatever_the_guess(name, centre, dtype, either_kernel):
    relative = 1e-5 if dtype is torch.float32 else 1e-11
    for _, activations in layouts(draw(name, 1200, units=19), dtype):
        _, table, _ = taken(either_kernel, activations, 7, centre=centre)
        alone = either_kernel(activations.numpy().dtype.type).moments(activations, Workspace())
        for found in (table, alone):
            assert_right(from_tensor(found), [by_unit(activations)], relative)


@pytest.mark.parametrize("odd", OUT_OF_RANGE)
def test_moments_where_one_pass_in_float32_would_not_do(odd, either_kernel):
    values = OUT_OF_RANGE[odd](draw("normal", 3600, units=5)).astype(np.float32).astype(float)
    for _, activations in layouts(values, torch.float32):
        _, table, _ = taken(either_kernel, activations, 7)
        assert_right(from_tensor(table), [by_unit(activations)], 1e-5)


@pytest.mark.some(24)
@pytest.mark.parametrize("units", [1, 3, 15, 16, 17, 33])
@pytest.mark.parametrize("positions", [1, 2, 15, 31, 32, 49, 1500])
def test_moments_of_any_shape(units, positions, either_kernel):
    values = torch.tensor(draw("shifted", 40 * positions, units=units).T.copy(), dtype=torch.float32)
    activations = values.reshape(40, positions, units).transpose(1, 2).contiguous()
    _, table, _ = taken(either_kernel, activations if positions > 1 else activations[:, :, 0], 8)
    assert_right(from_tensor(table), [by_unit(activations)], 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(0, 3), (4, 3, 0), (5, 3)])
def test_moments_alone_of_nothing_and_of_half_types(shape, dtype, either_kernel):
    table = either_kernel(np.float32).moments(torch.ones(shape, dtype=dtype), Workspace()).numpy()
    count = shape[0] * int(np.prod(shape[2:]))
    assert (table.shape, table[0].tolist(), table[1].tolist()) == ((6, 1, 3), [[count] * 3], [[0] * 3])


def test_the_guess_is_the_mean_afterwards(either_kernel):
    """Or is left alone: NumPy has no use for it."""
    activations = torch.tensor(draw("off_centre", 600).T.copy(), dtype=torch.float32)
    one, guess = either_kernel(np.float32), np.full(3, np.nan, np.float32)
    one.take(activations, Sampler(7, np.random.default_rng(0)), one.rows(7, 3), 0, guess, Workspace())
    assert isinstance(one, NumPy) or np.allclose(guess, activations.mean(0), rtol=1e-6)


def block(name, steps, n, dtype, units=11):
    """Rows [steps * n, units], and the values [units, steps, n] in float64."""
    values = draw(name, steps * n, units=units).astype(dtype)
    return values.T.copy(), values.reshape(units, steps, n).astype(float)


def each_step(raw):
    for unit, steps in enumerate(raw):
        for step, values in enumerate(steps):
            yield unit, step, values[np.isfinite(values)]


def ordered(kernel, rows, steps):
    one = kernel(rows.dtype.type)
    memory = one.rows(*rows.shape)
    memory[:] = rows
    return one.order(memory, steps, Workspace())


BLOCKS = [(1, 1), (5, 2), (4, 33), (2, 600), (1, 1100)]


@pytest.mark.some(24)
@pytest.mark.covering(2)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("steps", "n"), BLOCKS)
@pytest.mark.parametrize("name", ZOO)
def test_order_is_that_of_every_step(name, steps, n, dtype, either_kernel):
    rows, raw = block(name, steps, n, dtype)
    order = ordered(either_kernel, rows, steps)
    assert order.clean == np.isfinite(raw).all()
    np.testing.assert_array_equal(order.values, np.sort(np.where(np.isfinite(raw), raw, np.inf), axis=2))
    for unit, step, finite in each_step(raw):
        assert order.finite[unit, step] == len(finite)
        assert order.zeros[unit, step] == (finite == 0).sum()
        found = order.quantiles[:, unit, step]
        if not len(finite):
            assert np.isnan(found).all()
            assert (order.slices[unit, step] == 0).all()
            continue
        atol = 4 * np.finfo(dtype).eps * scale(finite)
        np.testing.assert_allclose(found, np.quantile(finite, STEP_QUANTILES), rtol=0, atol=atol)
        slices = np.sort(np.repeat(finite, 8)).reshape(8, -1).mean(1)
        np.testing.assert_allclose(order.slices[unit, step], slices, rtol=2e-6, atol=2e-6 * scale(finite))


@pytest.mark.some(24)
@pytest.mark.covering(2)
@pytest.mark.parametrize(("dtype", "relative"), [(np.float32, 1e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize(("steps", "n"), BLOCKS)
@pytest.mark.parametrize("name", ZOO)
def test_moments_are_those_of_every_step(name, steps, n, dtype, relative, either_kernel):
    rows, raw = block(name, steps, n, dtype)
    found = ordered(either_kernel, rows, steps).moments
    for unit, step, finite in each_step(raw):
        assert found.count[step, unit] == len(finite)
        assert found.nonfinite[step, unit] == n - len(finite)
        if not len(finite):
            assert (found.mean[step, unit], found.deviation[step, unit]) == (0, 0)
            assert (found.min[step, unit], found.max[step, unit]) == (np.inf, -np.inf)
            continue
        mean, spread = finite.mean(), finite.std()
        assert abs(found.mean[step, unit] - mean) <= relative * spread + 1e-15 * abs(mean)
        assert abs(found.deviation[step, unit] / np.sqrt(len(finite)) - spread) <= relative * spread
        assert (found.min[step, unit], found.max[step, unit]) == (finite.min(), finite.max())


def test_moments_of_a_block_far_off_centre_in_float64(either_kernel):
    values = 1e6 + 1e-3 * draw("normal", 800)
    found = ordered(either_kernel, values.T.copy(), 4).moments
    raw = values.reshape(3, 4, 200)
    np.testing.assert_allclose(found.mean.T - 1e6, (raw - 1e6).mean(2), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.deviation.T / np.sqrt(200), raw.std(2), rtol=1e-6)


@pytest.mark.parametrize("name", ["normal", *BROKEN])
def test_extremes_are_in_float64(name, either_kernel):
    order = ordered(either_kernel, block(name, 4, 33, np.float32)[0], 4)
    assert (order.moments.min.dtype, order.moments.max.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize("units", [1, 8, 13])
def test_steps_of_a_block_in_turn(units, either_kernel):
    rows, _ = block("normal", 5, 6, np.float32, units)
    shown = ordered(either_kernel, rows, 5)
    found = either_kernel(np.float32).in_turn(shown.values)
    np.testing.assert_array_equal(found, np.asarray(shown.values).reshape(units, -1))
