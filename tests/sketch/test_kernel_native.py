"""The compiled kernel against its twin in NumPy on whatever chance makes up, and what it refuses."""

import os
from copy import deepcopy

import numpy as np
import pytest
import torch

from icshift.kernel_choice import CHOICE, compiled
from icshift.sketch import kernel_native
from icshift.sketch.ended import distribution_of
from icshift.sketch.kernel import chosen
from icshift.sketch.kernel_native import Native
from icshift.sketch.kernel_numpy import NumPy
from icshift.sketch.level import GOING_UP, K, Level
from icshift.sketch.moments import Moments
from icshift.sketch.sampler import Sampler
from icshift.sketch.workspace import Workspace
from icshift.tails import TAIL
from tests.recorded import accumulator, joined, observe
from tests.zoo.distributions import draw

pytestmark = pytest.mark.skipif(compiled is None, reason="the native kernel was not built")

ROUNDS = int(os.environ.get("ICSHIFT_FUZZ", "150"))
"""Cases of each fuzz; `.ci/sanitize` asks for more."""

ROUNDING = 2e-6


def made_up(random, shape):
    """Numbers [..., units] of any size and kind: each unit has its own."""
    units = shape[-1]
    spread, centre = 10.0 ** random.uniform(-30, 30, units), 10.0 ** random.uniform(-30, 30, units)
    values = random.standard_normal(shape) * spread + centre * random.integers(-1, 2, units)
    kind = random.integers(0, 7, units)
    values = np.where(kind == 1, np.maximum(values, 0), values)
    values = np.where(kind == 2, np.round(random.standard_normal(shape)), values)
    values = np.where(kind == 3, random.choice([0.0, -0.0], shape), values)
    values = np.where(kind == 4, centre, values)
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    odd = random.choice(np.array([np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -0.0], np.float32), shape)
    share = random.choice([0, 0, 0, 0.001, 0.2, 1]) * (kind >= 5)
    return np.where(random.random(shape) < share, odd, values)


def assert_moments_agree(found, expected):
    """Tables [6, groups, units] of the same activations; extremes and counts are the same."""
    for row in (0, 1, 4, 5):
        np.testing.assert_array_equal(found[row], expected[row])
    count, mean, deviation, low, high = expected[0], expected[2], expected[3], expected[4], expected[5]
    size = np.where(count > 0, np.maximum(np.abs(low), np.abs(high)), 0)
    spread = deviation / np.sqrt(np.maximum(count, 1))
    assert (np.abs(found[2] - mean) <= ROUNDING * np.maximum(spread, 1e-7 * size) + 1e-44).all()
    found_spread = found[3] / np.sqrt(np.maximum(count, 1))
    # NumPy's second pass centres in float32 about the mean itself: what is lost there is a share of its last digit.
    assert (np.abs(found_spread - spread) <= 1e-5 * spread + 1e-7 * size + 1e-44).all()


@pytest.mark.some(2)
@pytest.mark.parametrize("part", range(4))
def test_take_agrees_on_anything(part):
    random = np.random.default_rng([14, part])
    native, twin = Native(), NumPy(np.float32)
    for _ in range(ROUNDS // 4):
        rows, units, positions = (
            random.integers(1, 90),
            random.integers(1, 70),
            random.choice([1, 1, 2, 7, 16, 33, 64, 95]),
        )
        values = made_up(random, (rows, positions, units))
        activations = torch.from_numpy(values).transpose(1, 2)
        activations = activations[:, :, 0] if positions == 1 else activations
        activations = activations.contiguous() if random.random() < 0.8 else activations
        samples, seed = int(random.integers(1, 80)), int(random.integers(99))
        centre = values[0, 0] if random.random() < 0.5 else np.full(units, np.nan, np.float32)
        centre = np.where(np.isfinite(centre).all(), centre, np.nan).astype(np.float32)
        results = []
        for one in (native, twin):
            memory = one.rows(samples + 3, units)
            sampler = Sampler(samples, np.random.default_rng(seed))
            table = one.take(activations, sampler, memory, 2, centre.copy(), Workspace())
            n = min(samples, rows * positions)
            results.append((memory[2 : 2 + n].copy(), table))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        assert (results[0][1] is None) == (results[1][1] is None)
        if results[0][1] is not None:
            exact = activations.double() if activations.ndim == 3 else activations.double()[:, :, None]
            assert_moments_agree(results[0][1].numpy(), in_float64(exact))


@pytest.mark.parametrize("positions", [3, 15, 16, 17, 32, 47, 48, 49, 63, 64, 256, 1023, 1024, 1025, 1039, 1100])
def test_moments_agree_whatever_part_of_a_piece_the_positions_fill(positions):
    random = np.random.default_rng([17, positions])
    activations = torch.from_numpy(made_up(random, (40, positions, 9))).transpose(1, 2).contiguous()
    table = np.empty((6, 1, 9))
    centre = np.full(9, np.nan, np.float32)
    compiled.scan(
        activations.data_ptr(), 40, 9, positions, 9 * positions, table, centre, False, None, 0, np.empty(0), 0
    )
    assert_moments_agree(table, in_float64(activations.double()))


def in_float64(activations):
    """The table [6, 1, units] of activations [rows, units, positions], value by value in float64."""
    table = np.zeros((6, 1, activations.shape[1]))
    for unit, every in enumerate(activations.transpose(0, 1).flatten(1).numpy()):
        finite = every[np.isfinite(every)]
        table[:, 0, unit] = len(finite), len(every) - len(finite), 0, 0, np.inf, -np.inf
        if len(finite):
            mean = finite.mean()
            deviation = np.sqrt(np.square(finite - mean).sum())
            table[2:, 0, unit] = mean, deviation, finite.min(), finite.max()
    return table


@pytest.mark.some(2)
@pytest.mark.parametrize("part", range(4))
def test_order_agrees_on_anything(part):
    random = np.random.default_rng([15, part])
    native, twin = Native(), NumPy(np.float32)
    for _ in range(ROUNDS // 4):
        steps, n, units = random.integers(1, 9), random.choice([1, 2, 3, 15, 16, 17, 60, 130]), random.integers(1, 40)
        rows = made_up(random, (steps * n, units))
        with np.errstate(all="ignore"):
            found, expected = (one.order(rows.copy(), steps, Workspace()) for one in (native, twin))
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.finite, expected.finite)
        np.testing.assert_array_equal(found.zeros, expected.zeros)
        assert found.clean == expected.clean
        size = np.where(found.finite > 0, np.maximum(np.abs(found.moments.min), np.abs(found.moments.max)).T, 0)
        np.testing.assert_array_equal(np.isnan(found.quantiles), np.isnan(expected.quantiles))
        off = np.abs(np.nan_to_num(found.quantiles) - np.nan_to_num(expected.quantiles))
        assert (off <= 1e-6 * size)[:, size < 1e38].all()
        if found.clean:
            with np.errstate(over="ignore"):
                assert (np.abs(found.slices - expected.slices) <= ROUNDING * size[..., None] + 1e-44)[size < 1e36].all()
        raw = torch.from_numpy(rows.reshape(steps, n, units)).double()
        for step in range(steps):
            assert_moments_agree(found.moments.table[:, step : step + 1], in_float64(raw[step][:, :, None]))


@pytest.mark.parametrize("room", [480, 479, 440, 421, 420])
def test_steps_go_to_their_place_and_stay_where_there_is_no_room(room):
    steps, n, units = 8, 60, 11
    rows = np.random.default_rng(room).standard_normal((steps, n, units)).astype(np.float32)
    rows[3, 5, 2] = np.nan
    expected, given = np.sort(rows, axis=1), rows.copy()
    expected[3, -1, 2] = np.inf
    to = np.empty((room, units), np.float32)
    shown = [
        np.empty((steps, *shape), kind)
        for shape, kind in (((6, units), float), ((units,), np.int64), ((5, units), np.float32))
    ]
    sums, counts, zeros = np.zeros((3, 8, units)), np.zeros((3, units), np.int64), np.zeros((3, units), np.int64)
    places = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    compiled.order(given, steps, n, units, to, *shown, None, places, 0, steps, sums, counts, zeros, 1, 4)
    np.testing.assert_array_equal(to, expected.reshape(-1, units)[:room])
    np.testing.assert_array_equal(given.reshape(-1, units)[room:], expected.reshape(-1, units)[room:])
    finite = np.where(np.isfinite(expected), 1, 0).sum(1)
    np.testing.assert_array_equal(counts, np.add.reduceat(finite, [0, 3, 7], axis=0))
    total = np.where(np.isfinite(expected), expected, 0).sum(1)
    np.testing.assert_allclose(sums.sum(1) / 8, np.add.reduceat(total, [0, 3, 7], axis=0), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="bytes, where"):
        compiled.order(given, steps, n, units, to[:419], *shown, None, places, 0, steps, sums, counts, zeros, 1, 4)
    with pytest.raises(ValueError, match="bytes, where"):
        compiled.order(given, steps, n, units, to, *shown, None, places, 0, steps, sums, counts, zeros, 2, 2)


def test_totals_agree_on_anything():
    random = np.random.default_rng(17)
    native, twin = Native(), NumPy(np.float32)
    for _ in range(ROUNDS // 4):
        steps, units = random.integers(1, 20), random.integers(1, 40)
        rows = made_up(random, (steps * 9, units))
        moments = native.order(rows.copy(), steps, Workspace()).moments
        for given in (moments, Moments(np.ascontiguousarray(moments.table)), Moments(moments.table[:, ::2])):
            with np.errstate(all="ignore"):
                assert_moments_agree(native.total(given).table, twin.total(given).table)
    with pytest.raises(ValueError, match="bytes, where"):
        compiled.total(np.empty(11), 2, 2, 1, 2, np.empty(12))
    with pytest.raises(ValueError, match="0 groups of 2 units"):
        compiled.total(np.empty(12), 2, 2, 0, 2, np.empty(12))


def test_quantiles_of_a_step_are_the_same_to_the_last_bit():
    rows = np.random.default_rng(3).standard_normal((600, 33)).astype(np.float32)
    found, expected = (one.order(rows.copy(), 10, Workspace()) for one in (Native(), NumPy(np.float32)))
    np.testing.assert_array_equal(found.quantiles, expected.quantiles)


def test_levels_agree_on_anything():
    random = np.random.default_rng(16)
    native, twin = Native(), NumPy(np.float32)
    for _ in range(ROUNDS // 4):
        units = int(random.integers(1, 40))
        values = made_up(random, (K, units)).T
        values = np.where(np.isfinite(values) & (np.abs(values) < 1e30), values, np.inf).astype(np.float32)
        levels = []
        for one in (native, twin):
            level = one.values(units, K)
            level[:] = values
            up = one.values(units, GOING_UP)
            levels.append((level[:, : 2 * TAIL], one.compact(level, up), up))
        np.testing.assert_array_equal(levels[0][0], levels[1][0])
        np.testing.assert_array_equal(levels[0][2], levels[1][2])
        size = np.abs(np.where(np.isfinite(values), values, 0)).max(1)
        np.testing.assert_array_equal(np.isnan(levels[0][1]), np.isnan(levels[1][1]))
        assert (np.abs(np.nan_to_num(levels[0][1] - levels[1][1])) <= 1e-3 * size + 1e-40).all()


def test_digests_agree_on_anything():
    random = np.random.default_rng(17)
    native, twin = Native(), NumPy(np.float32)
    for _ in range(ROUNDS // 4):
        units, fills = int(random.integers(1, 30)), random.integers(0, K + 1, random.integers(1, 7))
        weights = 4.0 ** random.integers(0, 4, len(fills))
        raw = [made_up(random, (K, units)).T for _ in fills]
        raw = [np.where(np.isfinite(values), np.clip(values, -1e30, 1e30), np.inf).astype(np.float32) for values in raw]
        finite = sum(
            np.isfinite(values[:, :fill]).sum(1) * weight
            for values, fill, weight in zip(raw, fills, weights, strict=True)
        )
        digests = []
        for one in (native, twin):
            levels = []
            for values, fill, weight in zip(raw, fills, weights, strict=True):
                level = one.values(units, K)
                level[:] = values
                levels.append(Level(level, int(fill), float(weight)))
            digests.append(one.digest(levels, finite.astype(np.int64)))
        found, expected = digests
        size = np.abs(np.nan_to_num(expected.values)).max(1, initial=0)
        assert found.values.shape == expected.values.shape
        np.testing.assert_array_equal(np.isnan(found.values), np.isnan(expected.values))
        off = np.abs(np.nan_to_num(found.values) - np.nan_to_num(expected.values))
        assert (off <= ROUNDING * size[:, None] + 1e-44).all()
        assert (np.abs(found.error - expected.error) <= 1e-5 * expected.error + 1e-7 * size + 1e-44).all()
        assert found.rank == expected.rank
        assert (found.tails is None) == (expected.tails is None)
        if found.tails is not None:
            np.testing.assert_array_equal(found.tails, expected.tails)


def test_float64_and_empty_tensors_are_numpys():
    sampler, centre = Sampler(4, np.random.default_rng(0)), np.full(3, np.nan, np.float32)
    for activations in (torch.rand(9, 3, dtype=torch.float64), torch.rand(0, 3), torch.rand(5, 3, 0)):
        rows = Native().rows(8, 3)
        Native().take(activations, sampler, rows, 0, centre, Workspace())
        n = min(4, activations.numel() // 3)
        expected = sampler.rows(activations).numpy()
        np.testing.assert_array_equal(rows[:n], expected[:n].astype(np.float32))


def test_memory_that_is_too_short_is_refused():
    short = np.empty(7, np.float32)
    values = torch.rand(4, 2)
    refusals = {
        "rows": (compiled.scan, (values.data_ptr(), 4, 2, 1, 2, None, None, False, None, 4, short, 0)),
        "table": (compiled.scan, (values.data_ptr(), 4, 2, 1, 2, np.empty(3), short, False, None, 4, np.empty(8), 0)),
        "level": (compiled.compact, (short, 1, 0.0, np.empty(1), np.empty(K, np.float32))),
        "up": (compiled.compact, (np.empty(K, np.float32), 1, 0.0, np.empty(1), short)),
    }
    for function, arguments in refusals.values():
        with pytest.raises(ValueError, match="bytes, where"):
            function(*arguments)
    with pytest.raises(TypeError, match="takes 12 arguments, not 1"):
        compiled.scan(1)
    with pytest.raises(ValueError, match="are sorted"):
        compiled.order(*[np.empty(9000, np.float32), 1, 2000, 1, *[np.empty(9000)] * 6, 0, 1, *[None] * 3, 0, 1])
    with pytest.raises(ValueError, match="room for 3"):
        compiled.order(*[np.empty(9000, np.float32), 2, 9, 1, *[np.empty(9000)] * 6, 2, 3, *[None] * 3, 0, 1])
    with pytest.raises(ValueError, match="contiguous"):
        compiled.compact(np.empty((2, 1024), np.float32).T, 1, 0.0, np.empty(1), np.empty(K, np.float32))
    fills = np.array([3], np.int32)
    with pytest.raises(ValueError, match="single values"):
        compiled.digest((np.empty((3, 1), np.float32),), fills, fills, 1, 8, np.empty(8), np.empty(1), np.empty(32))


@pytest.mark.parametrize("name", ["normal", "relu", "with_nan"])
def test_steps_that_are_sorted_one_by_one_show_what_they_show_together(name, monkeypatch):
    """Steps of several sizes, of one forward and of two, in a window of two parts."""
    monkeypatch.setenv(CHOICE, "native")
    chosen.cache_clear()
    shown = []
    for small in (0, 1 << 62):
        monkeypatch.setattr(kernel_native, "_SMALL", small)
        rows = []
        one = accumulator(11, samples=64, sink=lambda these, rows=rows: rows.append(deepcopy(these)))
        for step, values in enumerate(np.split(draw(name, 240 * 60, units=11), 240, axis=1)):
            observe(one, values[:, : 60 if step < 150 else 37])
            if step % 50 == 7:
                observe(one, values[:, :20])
            one.tick(step)
            if step == 99:
                distribution_of(one.part_ended())
                one.next_part()
        shown.append((distribution_of(one.ended()), joined(rows)))
    (one_by_one, steps), (together, steps_together) = shown
    for field in ("count", "nonfinite", "min", "max", "zero_share", "sampled", "values", "tails"):
        np.testing.assert_array_equal(getattr(one_by_one, field), getattr(together, field))
    np.testing.assert_allclose(one_by_one.blocks.slices, together.blocks.slices, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(one_by_one.blocks.steps, together.blocks.steps)
    for field in ("steps", "count", "mean", "std", "min", "max", "zero_share", "quantiles"):
        np.testing.assert_array_equal(getattr(steps, field), getattr(steps_together, field))
