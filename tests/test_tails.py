"""The ends of large windows are their very values, however they were recorded, merged or stored."""

from functools import reduce

import numpy as np
import pytest

import icshift
from icshift.distribution import EXACT, Distribution, empty
from icshift.tails import TAIL, ends, merged
from tests.recorded import distribution, of_zoo, write_run
from tests.zoo.distributions import FINITE, draw


def ends_of(values):
    ordered = np.sort(values, axis=1)
    return np.concatenate([ordered[:, :TAIL], ordered[:, -TAIL:]], axis=1)


@pytest.mark.some(14)
@pytest.mark.parametrize("n", [EXACT + 1, 6000, 60_000])
@pytest.mark.parametrize("name", FINITE)
def test_of_a_large_window_they_are_exact(name, n):
    np.testing.assert_array_equal(of_zoo(name, n).tails, ends_of(draw(name, n)))


@pytest.mark.parametrize("name", FINITE)
def test_a_window_that_keeps_all_values_has_no_others(name):
    assert of_zoo(name, EXACT).tails is None


@pytest.mark.some(14)
@pytest.mark.parametrize("cuts", [(1, 8, 300), (5, 900, 3000), (4000,)])
@pytest.mark.parametrize("name", FINITE)
def test_merged_they_are_those_of_the_union(name, cuts):
    values = draw(name, 6000)
    whole = reduce(Distribution.merge, [distribution(part, steps=4) for part in np.split(values, cuts, axis=1)])
    np.testing.assert_array_equal(whole.tails, ends_of(values))


def test_merged_windows_that_fit_have_no_others():
    assert of_zoo("normal", 200).merge(of_zoo("normal", 300)).tails is None


def test_an_end_among_non_finite_values_is_not_known():
    values = draw("normal", 6000).copy()
    values[1, ::7] = np.inf
    values[2] = np.nan
    kept = distribution(values)
    np.testing.assert_array_equal(kept.tails[0], ends_of(values)[0])
    np.testing.assert_array_equal(kept.tails[1, :TAIL], ends_of(values)[1, :TAIL])
    assert np.isnan(kept.tails[1, TAIL:]).all()
    assert np.isnan(kept.tails[2]).all()
    again = kept.merge(of_zoo("normal", 6000))
    assert np.isnan(again.tails).any(1).tolist() == [False, True, True]


def test_non_finite_values_are_the_highest():
    values = np.arange(40.0)[None]
    np.testing.assert_array_equal(ends(values[:, ::-1]), ends_of(values))
    values[0, 30] = np.nan
    assert np.isnan(ends(values)).tolist() == [[False] * TAIL + [True] * TAIL]
    assert np.isnan(ends(values[:, :9])).all()


def test_short_ends_are_all_there_is():
    low, high = np.arange(3.0)[None], np.arange(10.0, 30)[None]
    found = merged((low, low), (high[:, :TAIL], high[:, -TAIL:]))
    np.testing.assert_array_equal(found, ends_of(np.concatenate([low, high], axis=1)))


def test_they_go_with_their_units():
    kept = of_zoo("student_t3", 6000)
    np.testing.assert_array_equal(kept.take(np.array([2, 0])).tails, kept.tails[[2, 0]])
    assert of_zoo("normal", 300).take(np.array([0])).tails is None


@pytest.mark.parametrize("n", [300, 6000])
def test_they_are_stored(n, tmp_path):
    kept = of_zoo("student_t3", n)
    run = icshift.open(write_run(tmp_path / "run", [{("train", "fc"): kept}]))
    found = run.distribution("train", "fc", 1).tails
    np.testing.assert_array_equal(found, kept.tails)
    assert kept.tails is None or found.dtype == kept.tails.dtype


def test_nothing_leaves_them_as_they_are():
    kept = of_zoo("student_t3", 6000)
    assert kept.merge(empty(3)).tails is kept.tails
    assert empty(3).merge(kept).tails is kept.tails
