"""Drifts under every exchange: both kernels against a slow formula, at all scales, numbers of blocks and of units."""

import os

import numpy as np
import pytest

from icshift import kernel_choice
from icshift.blocks import SLICES
from icshift.noise.dependence import BlockProducts
from icshift.noise.drifts import drifts
from icshift.noise.exchange import ROUNDING, Differences, differences, patterns
from tests.blocks import any_blocks

ROUNDS = int(os.environ.get("ICSHIFT_FUZZ", "12"))


def apart(random, blocks, units, slices=SLICES):
    """Differences of blocks [blocks, units, slices] at scales from 1e-200 to 1e200, of some units none at all."""
    scale = 10.0 ** random.integers(-200, 200, (1, units, 1)) if random.random() < 0.3 else 1.0
    values = random.normal(size=(blocks, units, slices)) * scale
    values[:, random.random(units) < 0.2] = 0.0
    values[:, :, random.random(slices) < 0.2] = 0.0
    return values


def directly(values, known):
    """The statistic and what each unit shows, one pattern and unit at a time, in double precision."""
    blocks, units, slices = values.shape
    signs = patterns(blocks)
    each = np.zeros((len(signs), units))
    for unit in range(units):
        for place in range(slices):
            column = values[:, unit, place] / (np.abs(values[:, unit, place]).max() or 1.0)
            length = np.sqrt(np.sum(column**2))
            each[:, unit] += np.abs(signs @ column) / (length or 1.0)
    kept = known & (each.max(0) > 0)
    each = each[:, kept] / np.sqrt(np.mean(each[:, kept] ** 2, axis=0))
    return each, kept


def standardised(values):
    return (values - values.mean()) / values.std() if values.std() > 0 else 0 * values


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_statistic_is_that_of_a_slow_formula(number):
    random = np.random.default_rng(number)
    blocks, units = int(random.integers(6, 17)), int(random.integers(1, 40))
    values = apart(random, blocks, units, int(random.choice([1, SLICES])))
    known = random.random(units) < 0.9
    found, (each, kept) = drifts(values, known), directly(values, known)
    if not kept.any():
        assert (found.statistic == -np.inf).all()
        return
    expected = np.maximum(standardised(each.sum(1)), standardised(each.max(1)))
    np.testing.assert_allclose(found.statistic, expected, rtol=2e-3, atol=2e-3)
    assert (np.isnan(found.own) == ~known).all()
    assert (found.own[known & ~kept] == 1).all()
    pooled = np.sort(each[1:100].ravel())
    own = (len(pooled) - np.searchsorted(pooled, each[0] - 1e-5) + 1) / (len(pooled) + 1)
    assert (found.own[kept] <= own + 0.02).all()


def test_a_unit_that_stands_out_is_the_least_usual():
    values = np.random.default_rng(1).normal(size=(12, 30, SLICES))
    values[:, 7] += 4.0
    own = drifts(values, np.ones(30, bool)).own
    assert own.argmin() == 7
    assert own[7] < 0.01


def test_units_that_are_not_known_count_for_nothing():
    values = np.random.default_rng(2).normal(size=(10, 25, SLICES))
    known = np.arange(25) % 3 > 0
    some, without = drifts(values, known), drifts(values[:, known], known[known])
    np.testing.assert_allclose(some.statistic, without.statistic, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(some.own[known], without.own, atol=1e-3)


def test_scales_of_units_and_slices_change_nothing():
    random = np.random.default_rng(3)
    values, known = random.normal(size=(9, 20, SLICES)), np.ones(20, bool)
    scaled = values * 10.0 ** random.integers(-250, 250, (1, 20, SLICES))
    np.testing.assert_allclose(drifts(values, known).statistic, drifts(scaled, known).statistic, rtol=1e-4, atol=1e-4)


def test_nothing_differs_in_no_unit_and_in_none_at_all():
    for units in (0, 3):
        found = drifts(np.zeros((8, units, SLICES)), np.ones(units, bool))
        assert (found.statistic == -np.inf).all()
        assert (found.own == 1).all()


@pytest.mark.skipif(kernel_choice.compiled is None, reason="the native kernel was not built")
@pytest.mark.parametrize("number", range(ROUNDS))
def test_both_kernels_say_the_same(number, monkeypatch):
    random = np.random.default_rng([number, 1])
    units, length = int(random.integers(1, 60)), random.integers(6, 17, 2)
    a, b = (any_blocks(random, units, int(count)) for count in length)
    count = int(random.integers(1, min(length) + 1))
    found = []
    for kernel in ("numpy", "native"):
        monkeypatch.setenv(kernel_choice.CHOICE, kernel)
        here = differences(a, b, count)
        products = BlockProducts(count, 1.0)
        products.add(here)
        found.append((here, drifts(here.slices, here.known), products.products))
    (one, drift, product), (other, other_drift, other_product) = found
    for name in vars(one):
        # float32 is what joined slices are kept in: two that nearly cancel out differ by their rounding.
        rounding = 1e-6 * np.nanmax(np.abs(np.nan_to_num(a.slices)), initial=1e-30)
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5, atol=rounding)
    if np.isfinite(one.slices).all() and length[0] == length[1] == count:
        np.testing.assert_allclose(drift.statistic, other_drift.statistic, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(product, other_product, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_differences_of_joined_blocks_are_those_of_so_many(kind):
    random = np.random.default_rng(4)
    a, b = any_blocks(random, 9, 16, kind), any_blocks(random, 9, 13, kind)
    together, apart_ = differences(a, b, 6), differences(a.joined(6), b.joined(6))
    assert isinstance(together, Differences)
    for name in vars(together):
        np.testing.assert_allclose(getattr(together, name), getattr(apart_, name), rtol=1e-5, atol=1e-6)


def test_the_compiled_kernel_refuses_what_does_not_fit():
    if kernel_choice.compiled is None:
        pytest.skip("the native kernel was not built")
    wanted = np.zeros(3), np.zeros(3), np.zeros(2, np.float32), np.zeros((2, 2), np.float32)
    exchange = kernel_choice.compiled.exchange_blocks
    signs, kept = np.ones((3, 2)), np.ones(2, bool)
    exchange(np.zeros((2, 2, SLICES)), 2, 2, SLICES, signs, 3, *wanted, 2, kept)
    with pytest.raises(ValueError, match="bytes"):
        exchange(np.zeros((2, 1, SLICES)), 2, 2, SLICES, signs, 3, *wanted, 2, kept)
    with pytest.raises(ValueError, match="17 blocks"):
        exchange(np.zeros((17, 2, SLICES)), 2, 17, SLICES, signs, 3, *wanted, 2, kept)
    with pytest.raises(ValueError, match="patterns"):
        exchange(np.zeros((2, 2, SLICES)), 2, 2, SLICES, signs, 3, *wanted, 3, kept)
    with pytest.raises(TypeError, match="21 arguments"):
        kernel_choice.compiled.differ(1)
    one = np.zeros((2, 3, SLICES), np.float32), np.ones((2, 3), int), np.ones((2, 3), int), 3, 3
    out = (
        np.zeros((1, 2, SLICES)),
        np.zeros((1, 2)),
        np.zeros((1, 2)),
        np.zeros(1),
        np.zeros(2, int),
        np.zeros(2, bool),
        ROUNDING,
    )
    differ, compare = kernel_choice.compiled.differ, kernel_choice.compiled.compare
    differ(*one, np.array([0, 3]), *one, np.array([1, 3]), 2, 1, *out)
    for edges in ([0, 4], [2, 2], [-1, 2]):
        with pytest.raises(ValueError, match="not there"):
            differ(*one, np.array([0, 3]), *one, np.array(edges), 2, 1, *out)
    for each in (2, 4):
        with pytest.raises(ValueError, match="3 blocks"):
            differ(*one[:4], each, np.array([0, 3]), *one, np.array([1, 3]), 2, 1, *out)
    both = *one, np.array([0, 3]), *one, np.array([1, 3]), 2, 1, np.ones((4, 1)), 4, np.zeros(4), np.zeros(4)
    seen, whole = (
        (np.zeros(2, int), np.zeros(2, bool)),
        (np.array([0, 1, 2, 3]), np.array([0, 1, 2, 3]), np.zeros((3, 3)), ROUNDING),
    )
    compare(*both, None, None, 0, kept, *seen, 6, 3, *whole)
    compare(*both, *wanted[2:], 2, kept, *seen, 6, 0, np.zeros(1, int), np.zeros(1, int), np.zeros(0), ROUNDING)
    with pytest.raises(ValueError, match="bytes"):
        compare(*both, *wanted[2:], 3, kept, *seen, 6, 3, *whole)
    with pytest.raises(ValueError, match="patterns"):
        compare(*both, *wanted[2:], 4, kept, *seen, 6, 3, *whole)
    with pytest.raises(ValueError, match="not there"):
        compare(*both, None, None, 0, kept, *seen, 6, 3, whole[0], np.array([0, 1, 2, 4]), *whole[2:])
