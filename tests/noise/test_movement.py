"""What moved in one window: the step-down maximum, its units, and what cannot be told."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test

from icshift.blocks import SLICES, Blocks, no_blocks
from icshift.noise.exchange import differences, patterns
from icshift.noise.movement import FALSE_ALARMS, called, discoveries, movement
from tests.blocks import blocks_of, normal_blocks


def pairs(shifts, steps=32, units=6, seed=0):
    """Sites of which the second window is shifted by so much: a number, or one a unit."""
    return {
        f"site{place}": (
            normal_blocks(steps, units, 100 * seed + 2 * place),
            normal_blocks(steps, units, 100 * seed + 2 * place + 1, shift),
        )
        for place, shift in enumerate(shifts)
    }


# Oracles


def brute_force(windows):
    """The step-down maximum in plain Python: probabilities by site, of blocks that are exchanged as they are."""
    statistics = {}
    for name, (a, b) in windows.items():
        slices = differences(a, b).slices
        count, units, parts = slices.shape
        drifts = []
        for signs in product([1, -1], repeat=count - 1):
            drift = []
            for unit in range(units):
                total = 0.0
                for part in range(parts):
                    values = slices[:, unit, part]
                    moved = sum(sign * value for sign, value in zip((1, *signs), values, strict=True))
                    total += abs(moved) / np.sqrt(sum(value**2 for value in values))
                drift.append(total)
            drifts.append(drift)
        drifts = np.array(drifts)
        drifts /= np.sqrt((drifts**2).mean(0))
        both = [drifts.mean(1), drifts.max(1)]
        statistics[name] = np.max([(each - each.mean()) / each.std() for each in both], axis=0)
    left, p, largest = list(statistics), {}, 0.0
    while left:
        top = max(left, key=lambda name: statistics[name][0])
        reached = [max(statistics[name][place] for name in left) for place in range(len(statistics[top]))]
        largest = max(largest, np.mean(np.array(reached) >= statistics[top][0] - 1e-6))
        p[top] = largest
        left.remove(top)
    return p


@pytest.mark.parametrize("seed", range(4))
def test_probabilities_are_those_of_the_step_down_maximum(seed):
    windows = pairs([0.0, 0.15 * seed, 0.4], steps=7, units=3, seed=seed)
    found = movement(windows)
    expected = brute_force(windows)
    assert found.p == pytest.approx(expected)
    assert len(set(expected.values())) > 1


@pytest.mark.parametrize("seed", range(4))
def test_one_number_a_block_is_scipys_permutation_test(seed):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, 8)) + np.array([[0.0], [0.7]])
    windows = [constant_in_a_step(values) for values in (a, b)]
    exact = permutation_test(
        (b, a),
        lambda x, y, axis: np.abs(np.mean(x - y, axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf,
        vectorized=True,
    )
    assert movement({"one": tuple(windows)}).p["one"] == pytest.approx(exact.pvalue)


def constant_in_a_step(values):
    """Blocks of one unit whose slices are all the same in a step, one step a block."""
    slices = np.repeat(np.asarray(values)[None, :, None], SLICES, 2)
    ones = np.ones((1, len(values)), np.int64)
    return Blocks(slices, 16 * ones, 0 * ones, ones[0])


# Laws


def test_the_same_windows_show_nothing():
    windows = {name: (a, a) for name, (a, _) in pairs([0, 0]).items()}
    found = movement(windows)
    assert found.called == ()
    assert set(found.p.values()) == {1.0}
    assert found.share("site0") == found.share("site1") == 0
    assert not found.unknown


def test_what_moved_is_called_and_what_did_not_is_not():
    found = movement(pairs([0, 0.5, 0, 0.5], units=12))
    assert found.called == ("site1", "site3")
    assert found.moved["site1"].all()
    assert not found.moved["site0"].any()
    assert found.p["site1"] <= FALSE_ALARMS < found.p["site0"]


def test_one_unit_of_many_is_found():
    shift = np.zeros(60)
    shift[17] = 0.5
    found = movement(pairs([shift], units=60))
    assert found.called == ("site0",)
    assert found.moved["site0"][17]
    assert found.moved["site0"].sum() <= 3
    assert found.share("site0") == found.moved["site0"].sum() / 60


def test_all_units_a_little_are_found_although_none_is_alone():
    found = movement(pairs([0.06], units=300))
    assert found.called == ("site0",)


@pytest.mark.parametrize("shift", [0.0, 0.12])
def test_scale_place_order_and_names_do_not_matter(shift):
    windows = pairs([0, shift, 0])
    found = movement(windows)
    scaled = {
        name: tuple(Blocks(5 - 4 * e.slices[..., ::-1], e.sampled, e.zeros, e.steps) for e in pair)
        for name, pair in windows.items()
    }
    assert movement(scaled).p == pytest.approx(found.p, abs=0.011)
    order = np.array([3, 1, 5, 0, 4, 2])
    shuffled = movement({name: tuple(each.take(order) for each in pair) for name, pair in windows.items()})
    assert shuffled.p == pytest.approx(found.p)
    for name, moved in found.moved.items():
        np.testing.assert_array_equal(shuffled.moved[name], moved[order])
    assert movement(dict(reversed(windows.items()))).p == pytest.approx(found.p)
    assert movement({name: (b, a) for name, (a, b) in windows.items()}).p == pytest.approx(found.p)


def test_a_site_among_many_needs_more_than_alone():
    windows = pairs([0.13, *[0] * 15], units=4, seed=3)
    alone = movement({"site0": windows["site0"]}).p["site0"]
    assert movement(windows).p["site0"] > alone


def test_a_copy_of_a_site_changes_nothing():
    """Sites that depend on each other are exchanged together: no price is paid for the same thing twice."""
    windows = pairs([0.13, 0], seed=3)
    twice = windows | {f"again {name}": pair for name, pair in windows.items()}
    once = movement(windows).p
    assert movement(twice).p == pytest.approx(once | {f"again {name}": p for name, p in once.items()})


def test_thousands_of_units_are_those_of_their_parts():
    """More than are computed at once; the last of them moved."""
    shift = np.zeros(1500)
    shift[-20:] = 1.0
    found = movement(pairs([shift], units=1500, steps=16))
    assert found.called == ("site0",)
    assert found.moved["site0"][-20:].all()
    assert found.moved["site0"].sum() <= 24


def test_a_level_of_its_own_is_kept():
    windows = pairs([0.5], steps=6)
    p = movement(windows).p["site0"]
    assert p == 1 / 32
    assert movement(windows, level=p).called == ("site0",)
    less = pairs([0.2], steps=8, seed=3)
    p = movement(less).p["site0"]
    assert 1 / 128 < p < 0.5
    assert movement(less, level=p).called == ("site0",)
    assert movement(less, level=p - 1 / 128).called == ()
    assert not movement(less, level=p - 1 / 128).moved["site0"].any()


def test_sites_with_fewer_blocks_have_patterns_of_their_own():
    windows = pairs([0.5, 0], steps=32) | {"few": (normal_blocks(7, 6, 90), normal_blocks(7, 6, 91, 0.9))}
    found = movement(windows)
    assert found.p["few"] == pytest.approx(2 * movement({"few": windows["few"]}).p["few"])
    assert set(found.called) == {"site0", "few"}


def test_windows_of_different_length_compare_means_alone():
    """Slices of few values are nearer to each other than those of many: by itself that is no movement."""
    random = np.random.default_rng(0)
    windows = {"site": (blocks_of(random.normal(size=(40, 12, 4))), blocks_of(random.normal(size=(40, 120, 32))))}
    assert movement(windows).called == ()
    assert len(patterns(6)) == 32


# Units


def test_units_without_values_are_never_called():
    (a, b), empty = pairs([0.5])["site0"], np.array([0, 3])
    sampled = a.sampled.copy()
    sampled[empty] = 0
    slices = np.where(sampled[:, :, None] > 0, a.slices, np.nan)
    found = movement({"site": (Blocks(slices, sampled, np.minimum(a.zeros, sampled), a.steps), b)})
    assert found.called == ("site",)
    np.testing.assert_array_equal(found.moved["site"], [False, True, True, False, True, True])
    np.testing.assert_array_equal(found.told["site"], [False, True, True, False, True, True])
    assert (found.share("site"), found.untold("site")) == (4 / 6, 2)


def test_constants_are_still_unless_they_change():
    ones = np.ones((4, 32, 16))
    changed = ones.copy()
    changed[2] = 3.0
    assert movement({"site": (blocks_of(ones), blocks_of(ones))}).called == ()
    found = movement({"site": (blocks_of(ones), blocks_of(changed))})
    assert found.called == ("site",)
    np.testing.assert_array_equal(found.moved["site"], [False, False, True, False])


def test_one_unit_and_no_unit():
    assert movement(pairs([0.5], units=1)).share("site0") == 1
    nothing = normal_blocks(32, 1).take(np.zeros(0, np.int64))
    found = movement({"none": (nothing, nothing)})
    assert found.called == ()
    assert found.share("none") == 0


def test_a_called_site_has_a_unit_at_least():
    """Also where so many little shifts are found together that none of them is found alone."""
    found = movement(pairs([0.045], units=300, seed=1))
    share = found.share("site0")
    assert share >= 1 / 300 if found.called else share == 0


@pytest.mark.parametrize(
    ("p", "called"),
    [
        ([], []),
        ([np.nan, np.nan], []),
        ([0.9], []),
        ([0.05], [0]),
        ([0.01, 0.9, 0.04, np.nan], [0]),
        ([0.01, 0.9, 0.02, 0.035], [0, 2, 3]),
    ],
)
def test_discoveries_are_those_of_benjamini_and_hochberg(p, called):
    assert np.flatnonzero(discoveries(np.array(p))).tolist() == called


# What cannot be told


def test_few_steps_and_older_runs_and_probes_are_told():
    enough = normal_blocks(30)
    found = movement(
        {
            "short": (enough, normal_blocks(5)),
            "one": (normal_blocks(1), enough),
            "older": (no_blocks(3), enough),
            "probe": (None, enough),
            "fine": (enough, normal_blocks(30, seed=1)),
        }
    )
    assert found.unknown == {
        "short": "a window of 5 steps: it takes 6",
        "one": "a window of 1 step: it takes 6",
        "older": "no blocks of steps were kept: an older version recorded them",
        "probe": "one of the windows is of a probe, the other is not",
    }
    assert list(found.p) == list(found.moved) == ["fine"]
    assert np.isnan(found.share("short"))


def test_nothing_is_said_of_steps_that_depend_on_each_other():
    random = np.random.default_rng(0)
    slow = np.cumsum(random.normal(size=(2, 20, 64)), axis=2)[:, :, :, None] + random.normal(size=(2, 20, 64, 16))
    found = movement({"slow": tuple(blocks_of(window) for window in slow)})
    assert found.dependence.large
    assert found.called == ()
    assert found.p == found.moved == {}
    assert found.unknown == {"slow": "steps depend on each other"}


def test_no_site_at_all():
    found = movement({})
    assert found.called == ()
    assert found.p == found.moved == found.unknown == {}
    assert np.isnan(found.dependence.first)


def test_blocks_too_few_for_the_level_are_not_said_to_stand_still():
    """Six blocks have 32 patterns: no p below 0.031, whatever moved."""
    windows = {"a": (normal_blocks(6), normal_blocks(6, seed=1, shift=9))}
    assert movement(windows).called == ("a",)
    strict = movement(windows, level=0.05 / 10)
    assert (strict.called, strict.moved) == ((), {})
    assert strict.unknown == {"a": "6 blocks of steps are too few to tell at a level of 0.005"}


def test_seldom_active_units_of_windows_of_other_lengths_that_did_not_move():
    """A mean of one active value or two is skewed: of 20 windows nearly all were called. Where more are, it is told."""

    def windows(threshold, moved=0.0):
        random = np.random.default_rng(3)
        return [
            tuple(
                blocks_of(np.maximum(random.normal(shift, 1, (64, steps, 64)) - threshold, 0))
                for steps, shift in ((120, 0.0), (12, moved))
            )
            for _ in range(20)
        ]

    never_judged = [movement({"site": pair}) for pair in windows(2.0)]
    assert [found.called for found in never_judged] == [()] * 20
    assert {found.unknown["site"] for found in never_judged} == {
        "one window is much longer, and its units are too seldom active to compare their means"
    }
    assert sum(bool(movement({"site": pair}).called) for pair in windows(0.0, 0.1)) >= 15


def test_dead_units_stand_still_and_seldom_active_ones_are_not_told_in_windows_of_other_lengths():
    random = np.random.default_rng(4)
    threshold = np.repeat([0.0, 2.5, 100.0], 3)[:, None, None]
    a, b = (
        blocks_of(np.maximum(random.normal(shift, 1, (9, steps, 64)) - threshold, 0))
        for steps, shift in ((120, 0.0), (12, 0.3))
    )
    found = movement({"site": (a, b)})
    assert found.called == ("site",)
    assert found.moved["site"].tolist() == [True] * 3 + [False] * 6
    assert found.told["site"].tolist() == [True] * 3 + [False] * 3 + [True] * 3
    quiet = np.arange(3, 9)
    found = movement({"site": (a.take(quiet), b.take(quiet))})  # Dead ones say nothing of the others.
    assert "too seldom active" in found.unknown["site"]
    dead = np.arange(6, 9)
    found = movement({"site": (a.take(dead), b.take(dead))})
    assert (found.called, found.share("site"), found.untold("site")) == ((), 0, 0)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.3])
def test_which_sites_are_called_is_known_without_their_units(shift):
    windows = {str(seed): (normal_blocks(32, seed=seed), normal_blocks(32, seed=seed + 9)) for seed in range(4)}
    windows["moved"] = normal_blocks(32, seed=20), normal_blocks(32, seed=21, shift=shift)
    windows |= {"longer": (normal_blocks(32, seed=5), normal_blocks(320, seed=6)), "none": (None, normal_blocks(32))}
    assert called(windows) == movement(windows).called
