"""Blocks of steps: what joining, merging, taking and keeping leave as it was."""

import numpy as np
import pytest

from icshift.blocks import BLOCKS, SLICES, BlockKeeper, Blocks, no_blocks


def steps(count, units=3, seed=0, gaps=False):
    """Slice means [units, steps, SLICES], numbers of values and of zeros [units, steps]."""
    random = np.random.default_rng([seed, count])
    sampled = random.integers(0 if gaps else 1, 65, (units, count))
    return np.sort(random.normal(size=(units, count, SLICES)), 2), sampled, sampled // 3


def kept(count, parts=None, **options):
    """The blocks of so many steps, which are added in one piece or in pieces of these lengths."""
    slices, sampled, zeros = steps(count, **options)
    keeper, first = BlockKeeper(len(sampled), np.float64), 0
    for length in parts or [count]:
        part = slice(first, first + length)
        keeper.add(slices[:, part], sampled[:, part], zeros[:, part])
        first += length
    return keeper.blocks()


def assert_same(a, b):
    np.testing.assert_array_equal(a.steps, b.steps)
    np.testing.assert_array_equal(a.sampled, b.sampled)
    np.testing.assert_array_equal(a.zeros, b.zeros)
    np.testing.assert_allclose(a.slices, b.slices, rtol=1e-6, atol=1e-12)


def of_all_at_once(count, length, **options):
    """Brute force: every block from its own steps, as they are."""
    slices, sampled, zeros = steps(count, **options)
    starts = range(0, count, length)
    means = np.full((len(sampled), len(starts), SLICES), np.nan)
    for unit in range(len(sampled)):
        for place, start in enumerate(starts):
            here = slice(start, start + length)
            if sampled[unit, here].any():
                means[unit, place] = np.average(slices[unit, here], axis=0, weights=sampled[unit, here])
    totals = [np.add.reduceat(each, list(starts), axis=1) for each in (sampled, zeros)]
    return Blocks(means, *totals, np.array([min(length, count - start) for start in starts]))


@pytest.mark.parametrize(
    ("count", "length"), [(1, 1), (7, 1), (16, 1), (17, 2), (32, 2), (33, 4), (100, 8), (1000, 64)]
)
@pytest.mark.parametrize("gaps", [False, True], ids=["all seen", "gaps"])
def test_a_keeper_has_the_blocks_of_all_steps_at_once(count, length, gaps):
    blocks = kept(count, gaps=gaps)
    assert len(blocks) <= BLOCKS
    assert_same(blocks, of_all_at_once(count, length, gaps=gaps))


@pytest.mark.parametrize("parts", [[1] * 50, [7] * 7 + [1], [49, 1], [16, 16, 18], [1, 48, 1]], ids=str)
def test_it_does_not_matter_in_which_pieces_steps_come(parts):
    assert_same(kept(50, parts), kept(50))


def test_a_keeper_goes_on_and_begins_anew():
    slices, sampled, zeros = steps(40)
    keeper = BlockKeeper(3, np.float64)
    keeper.add(slices[:, :20], sampled[:, :20], zeros[:, :20])
    half = keeper.blocks()
    assert half.steps.sum() == 20
    keeper.add(slices[:, 20:], sampled[:, 20:], zeros[:, 20:])
    assert_same(keeper.blocks(), kept(40))
    assert half.steps.sum() == 20  # What was handed out does not change.
    keeper.restart()
    assert len(keeper.blocks()) == 0
    keeper.add(slices, sampled, zeros)
    assert_same(keeper.blocks(), kept(40))


def test_slices_of_units_without_values_are_not_read():
    slices, sampled, zeros = steps(6)
    sampled[1] = zeros[1] = 0
    slices[1] = 1e300
    keeper = BlockKeeper(3, np.float64)
    keeper.add(slices, sampled, zeros)
    blocks = keeper.blocks()
    assert np.isnan(blocks.slices[1]).all()
    assert np.isfinite(blocks.slices[[0, 2]]).all()


@pytest.mark.parametrize("count", [1, 2, 5, 6, 8, 15])
def test_joined_blocks_hold_the_same_values(count):
    blocks = kept(64, gaps=True)
    joined = blocks.joined(count)
    assert len(joined) == count
    np.testing.assert_array_equal(joined.sampled.sum(1), blocks.sampled.sum(1))
    np.testing.assert_array_equal(joined.zeros.sum(1), blocks.zeros.sum(1))
    assert joined.steps.sum() == 64
    assert joined.steps.max() - joined.steps.min() <= 4  # One block.
    whole = [np.einsum("ubs,ub->us", one.slices, one.sampled) for one in (blocks, joined)]
    np.testing.assert_allclose(*whole, rtol=1e-9)


def test_joining_in_two_goes_is_joining_in_one():
    blocks = kept(64)
    assert_same(blocks.joined(8).joined(4), blocks.joined(4))
    assert blocks.joined(16) is blocks
    assert blocks.joined(99) is blocks


def test_taken_units_are_as_they_were():
    blocks = kept(20)
    taken = blocks.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.slices, blocks.slices[[2, 0]])
    np.testing.assert_array_equal(taken.sampled, blocks.sampled[[2, 0]])
    np.testing.assert_array_equal(taken.steps, blocks.steps)
    assert_same(blocks.joined(5).take(np.array([1])), blocks.take(np.array([1])).joined(5))


def test_merged_blocks_are_those_of_both_processes_steps():
    """Two processes that see the same number of steps: each block holds the values of both."""
    a, b = kept(40, seed=1), kept(40, seed=2, gaps=True)
    both = a.merge(b)
    assert_same(both, b.merge(a))
    np.testing.assert_array_equal(both.steps, a.steps)
    np.testing.assert_array_equal(both.sampled, a.sampled + b.sampled)
    weighted = [np.nan_to_num(one.slices) * one.sampled[:, :, None] for one in (a, b, both)]
    np.testing.assert_allclose(weighted[0] + weighted[1], weighted[2], rtol=1e-9)
    c = kept(40, seed=3)
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)))


def test_where_one_process_has_more_blocks_its_neighbours_are_joined():
    a, b = kept(16, seed=1), kept(9, seed=2)
    both = a.merge(b)
    assert len(both) == 9
    np.testing.assert_array_equal(both.sampled, a.joined(9).sampled + b.sampled)


def test_no_blocks_leave_others_as_they_are():
    blocks, nothing = kept(20), no_blocks(3)
    assert blocks.merge(nothing) is blocks
    assert nothing.merge(blocks) is blocks
    assert len(nothing.merge(no_blocks(3))) == 0


def test_a_unit_that_is_never_seen_stays_unknown():
    slices, sampled, zeros = steps(30)
    sampled[0] = zeros[0] = 0
    keeper = BlockKeeper(3)
    keeper.add(slices, sampled, zeros)
    for blocks in (keeper.blocks(), keeper.blocks().joined(6), keeper.blocks().merge(keeper.blocks())):
        assert np.isnan(blocks.slices[0]).all()
        assert not blocks.sampled[0].any()
        assert blocks.slices.dtype == np.float32
