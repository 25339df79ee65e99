"""The stratified draw of activations for quantiles."""

import numpy as np
import pytest
import torch

from icshift.distribution import EXAMPLES
from icshift.sketch.sampler import ExampleSampler, Sampler


def coded(rows, positions, units=3):
    """Activations [rows, units, positions] that tell where they stand: place + unit / 10."""
    place = torch.arange(rows * positions, dtype=torch.float64).reshape(rows, 1, positions)
    return place + torch.arange(units, dtype=torch.float64).reshape(1, units, 1) / 10


def sampler(samples, seed=0):
    return Sampler(samples, np.random.default_rng(seed))


@pytest.mark.parametrize("samples", [8, 12, np.inf])
def test_all_are_taken_when_they_are_few(samples):
    flat = sampler(samples).rows(coded(8, 1)[:, :, 0])
    assert flat[:, 0].tolist() == list(range(8))
    assert sampler(samples).rows(coded(2, 4)).tolist() == flat.tolist()


@pytest.mark.parametrize(("rows", "positions"), [(80, 1), (8, 10), (1, 80), (83, 1), (9, 9)])
def test_one_place_of_each_stretch_for_all_units(rows, positions):
    drawn = sampler(8).rows(coded(rows, positions))
    assert drawn.shape == (8, 3)
    stretch = rows * positions / 8
    for place, number in zip(drawn[:, 0].tolist(), range(8), strict=True):
        assert int(number * stretch) <= place <= int((number + 1) * stretch)
    torch.testing.assert_close(drawn[:, 2] - drawn[:, 0], torch.full((8,), 0.2, dtype=torch.float64))


def test_every_place_is_equally_likely():
    one = sampler(10)
    counts = np.zeros(50)
    for _ in range(2000):
        counts[one.rows(coded(50, 1)[:, :, 0])[:, 0].long()] += 1
        one.renew()
    assert abs(counts - 400).max() < 5 * np.sqrt(400)


def test_same_places_until_renewed():
    one = sampler(8)
    first = one.rows(coded(80, 1))
    one.rows(coded(64, 10))
    assert torch.equal(one.rows(coded(8, 10)), first)
    one.renew()
    assert not torch.equal(one.rows(coded(80, 1)), first)


def test_torchs_generator_is_left_alone():
    before = torch.get_rng_state()
    sampler(8).rows(coded(80, 1))
    assert torch.equal(torch.get_rng_state(), before)


def of_forwards(pairs, forwards, phase, rows=400, positions=1):
    """Places drawn of each forward of a probe."""
    pairs.restart(forwards)
    found = []
    for _ in range(forwards):
        drawn = pairs.rows(coded(rows, positions), phase)
        found.append([] if drawn is None else drawn[:, 0].tolist())
        pairs.next_forward()
    return found


@pytest.mark.parametrize("forwards", [1, 2, 3, 100, EXAMPLES, EXAMPLES + 1, 1000])
def test_every_forward_of_a_probe_has_an_equal_share_of_the_pairs(forwards):
    shares = [len(found) for found in of_forwards(ExampleSampler(0), forwards, "probe")]
    assert sum(shares) == EXAMPLES
    assert max(shares) - min(shares) <= 1
    # Not the first ones alone, where there are more forwards than pairs.
    assert abs(sum(shares[: forwards // 2]) - EXAMPLES * (forwards // 2) / forwards) <= 1


@pytest.mark.parametrize(("rows", "positions"), [(400, 1), (40, 10), (1, 400)])
def test_pairs_are_the_same_in_every_window_and_phase_and_spread_over_the_forward(rows, positions):
    pairs = ExampleSampler(0)
    first = of_forwards(pairs, 3, "probe", rows, positions)
    assert of_forwards(pairs, 3, "probe", rows, positions) == first
    assert of_forwards(ExampleSampler(0), 3, "probe-train", rows, positions) == first
    for places in first:
        assert places == sorted(set(places))
        assert max(np.diff([0, *places, 400])) < 2 * 400 / len(places) + 1


def test_a_phase_that_follows_begins_with_the_first_forward():
    pairs = ExampleSampler(0)
    pairs.restart(2)
    first = pairs.rows(coded(400, 1), "probe")
    for _ in range(2):
        pairs.next_forward()
    assert pairs.rows(coded(400, 1), "probe") is None
    assert torch.equal(pairs.rows(coded(400, 1), "probe-train"), first)


def test_no_pairs_are_drawn_where_no_probe_was_begun():
    assert ExampleSampler(0).rows(coded(400, 1), "probe") is None


def test_fewer_places_than_a_share_are_all_taken():
    assert of_forwards(ExampleSampler(0), 2, "probe", rows=9) == [list(range(9))] * 2
