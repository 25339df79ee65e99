"""Two windows compared in one go: what comes of them step by step, with both kernels."""

import os

import numpy as np
import pytest

from icshift.blocks import Blocks
from icshift.noise.compared import compared
from icshift.noise.dependence import BlockProducts
from icshift.noise.drifts import POOLED, drifts
from icshift.noise.exchange import differences
from tests.blocks import any_blocks, normal_blocks

ROUNDS = int(os.environ.get("ICSHIFT_FUZZ", "12"))


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("shared", [False, True])
def test_windows_are_compared_in_one_go_as_step_by_step(number, shared):
    random = np.random.default_rng([number, 2])
    units, length = int(random.integers(1, 40)), int(random.integers(6, 17))
    a, b = (any_blocks(random, units, length) for _ in range(2))
    # Counts that are the same in all units, as where nothing is left out, are there once.
    sampled = np.broadcast_to(a.sampled[:1], a.sampled.shape) if shared else a.sampled
    a, b = (with_counts(one, sampled) for one in (a, b))
    count, fine = (int(random.integers(low, length + 1)) for low in (6, 1))
    products, expected = BlockProducts(fine, 1.0), BlockProducts(fine, 1.0)
    found = compared(a, b, count, products, POOLED)
    apart = differences(a, b, count)
    one_by_one = drifts(apart.slices, apart.known)
    expected.add(differences(a, b, fine))
    np.testing.assert_allclose(found.statistic, one_by_one.statistic, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.own, one_by_one.own, atol=1e-3)
    np.testing.assert_array_equal(found.told, apart.known)
    assert found.coarse == apart.coarse.any()
    np.testing.assert_allclose(products.products, expected.products, rtol=1e-9, atol=1e-9)
    alone = compared(a, b, count, BlockProducts(fine, 1.0), 0)
    np.testing.assert_array_equal(alone.statistic, found.statistic)
    assert alone.own is None


def with_counts(one, sampled):
    """The same blocks of other numbers of values."""
    slices = np.where(sampled[:, :, None] > 0, np.nan_to_num(one.slices), np.nan).astype(one.slices.dtype)
    return Blocks(slices, sampled, sampled, one.steps)


def test_units_of_windows_of_other_lengths_are_compared_by_their_means():
    a, b = normal_blocks(32, seed=1), normal_blocks(512, seed=2)
    products = BlockProducts(16, 1.0)
    found = compared(a, b, 16, products, POOLED)
    by_means = drifts(differences(a, b, 16).means[:, :, None], np.ones(3, bool))
    np.testing.assert_allclose(found.statistic, by_means.statistic)
    assert found.told.all()
    assert products.products.any()


def test_blocks_in_which_a_window_has_fewer_than_products_are_of_leave_these_alone():
    products = BlockProducts(16, 1.0)
    compared(normal_blocks(8), normal_blocks(8, seed=1), 8, products, 0)
    assert not products.products.any()
