"""Intervals and tests of two groups of runs, against SciPy and against every pattern written out."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from icshift.replicates.inference import LEAST, Design, evidence


def values(rows, runs, *, seed=0, shift=0.0):
    return np.exp(np.random.default_rng(seed).normal(shift, 0.3, (rows, runs)))


def test_pairs_have_students_interval():
    a, b = values(3, 6, seed=1, shift=0.4), values(3, 6, seed=2)
    found = evidence(Design(6, 6), a, b)
    for row in range(3):
        logs = np.log(a[row] / b[row])
        low, high = stats.ttest_1samp(logs, 0).confidence_interval(0.95)
        expected = np.exp([logs.mean(), low, high])
        np.testing.assert_allclose([found.ratio[row], found.low[row], found.high[row]], expected, rtol=1e-12)


def test_groups_of_two_sizes_have_welchs_interval():
    a, b = values(3, 5, seed=1, shift=0.4), values(3, 8, seed=2)
    found = evidence(Design(5, 8), a, b)
    for row in range(3):
        test = stats.ttest_ind(np.log(a[row]), np.log(b[row]), equal_var=False)
        np.testing.assert_allclose(
            np.log([found.low[row], found.high[row]]), test.confidence_interval(0.95), rtol=1e-10
        )


def by_all_patterns(a, b):
    """The p-values of rows of pairs, and adjusted ones: statistics of all 2^n patterns, written out."""
    logs = np.log(a / b)
    signs = np.array(list(product((1, -1), repeat=logs.shape[1])))
    found = np.abs(np.einsum("pn,rn->pr", signs, logs)) / np.sqrt((logs**2).sum(1))
    p = (found >= found[0] - 1e-12).mean(0)
    adjusted = np.empty(len(logs))
    largest = 0.0
    left = list(np.argsort(-found[0]))
    while left:
        largest = max(largest, (found[:, left].max(1) >= found[0, left[0]] - 1e-12).mean())
        adjusted[left.pop(0)] = largest
    return p, adjusted


def test_pairs_are_tested_by_all_patterns_of_signs():
    a, b = values(6, 7, seed=3), values(6, 7, seed=4)
    a[:2] *= 1.6
    found = evidence(Design(7, 7), a, b)
    p, adjusted = by_all_patterns(a, b)
    np.testing.assert_allclose(found.p, p, rtol=1e-12)
    np.testing.assert_allclose(found.adjusted, adjusted, rtol=1e-12)
    assert (found.adjusted >= found.p).all()
    assert (found.adjusted > found.p).any()


def test_groups_of_two_sizes_are_tested_by_all_ways_to_split_them():
    a, b = values(1, 5, seed=3, shift=0.3), values(1, 6, seed=4)
    together = np.log(np.concatenate([a[0], b[0]]))
    apart = [
        abs(together[list(chosen)].mean() - np.delete(together, chosen).mean()) for chosen in combinations(range(11), 5)
    ]
    found = evidence(Design(5, 6), a, b)
    assert found.p[0] == pytest.approx(np.mean(np.array(apart) >= apart[0] - 1e-12))


def test_many_runs_are_tested_by_patterns_that_are_drawn():
    """And near what a t test says, of values that are normal."""
    design = Design(24, 24)
    assert not design.exact
    a, b = values(1, 24, seed=5, shift=0.15), values(1, 24, seed=6)
    expected = stats.ttest_1samp(np.log(a[0] / b[0]), 0).pvalue
    assert evidence(design, a, b).p[0] == pytest.approx(expected, rel=0.15)
    assert Design(9, 12).patterns == design.patterns
    apart = evidence(Design(9, 12), values(1, 9, seed=5, shift=0.3), values(1, 12, seed=6)).p[0]
    same = stats.ttest_ind(np.log(values(1, 9, seed=5, shift=0.3)[0]), np.log(values(1, 12, seed=6)[0])).pvalue
    assert apart == pytest.approx(same, rel=0.15)


@pytest.mark.parametrize(("runs", "least"), [(5, 1 / 16), (6, 1 / 32), (8, 1 / 128)])
def test_the_clearest_difference_has_the_least_p(runs, least):
    found = evidence(Design(runs, runs), values(4, runs, shift=3.0), values(4, runs, seed=1))
    assert Design(runs, runs).least_p == least
    assert found.p.tolist() == found.adjusted.tolist() == [least] * 4


def test_too_few_runs_say_nothing():
    for a, b in ((1, 1), (LEAST - 1, LEAST - 1), (LEAST - 1, 20)):
        found = evidence(Design(a, b), values(2, a, shift=3.0), values(2, b))
        assert np.isnan([found.ratio, found.low, found.high, found.p, found.adjusted]).all()


def test_a_value_without_a_logarithm_makes_its_row_alone_unknown():
    a, b = values(3, 5, shift=1.0), values(3, 5, seed=1)
    expected = evidence(Design(5, 5), a[:1], b[:1])
    a[1, 2], b[2, 0] = 0.0, np.nan
    found = evidence(Design(5, 5), a, b)
    assert np.isnan(found.p).tolist() == np.isnan(found.adjusted).tolist() == [False, True, True]
    assert (found.p[0], found.adjusted[0], found.high[0]) == (expected.p[0], expected.p[0], expected.high[0])


def test_equal_groups_are_equal():
    same = values(2, 5)
    found = evidence(Design(5, 5), same, same)
    assert found.ratio.tolist() == found.low.tolist() == found.high.tolist() == [1, 1]
    assert found.p.tolist() == found.adjusted.tolist() == [1, 1]


def test_exchanging_groups_turns_ratios_over():
    for a, b in ((6, 6), (5, 7)):
        first, second = values(3, a, shift=0.2), values(3, b, seed=1)
        there, back = evidence(Design(a, b), first, second), evidence(Design(b, a), second, first)
        np.testing.assert_allclose(there.ratio * back.ratio, 1)
        np.testing.assert_allclose(there.low * back.high, 1)
        np.testing.assert_allclose([there.p, there.adjusted], [back.p, back.adjusted])


@pytest.mark.parametrize(("a", "b"), [(6, 6), (5, 7)])
def test_one_of_many_dependent_rows_is_called_as_seldom_as_stated(a, b):
    """12 rows without a difference, that share most of what differs between runs: 400 comparisons, at 10 %."""
    random = np.random.default_rng(11)
    called = 0
    for _ in range(400):
        logs = random.normal(0, 1, a + b) + 0.7 * random.normal(0, 1, (12, a + b))
        found = evidence(Design(a, b), np.exp(logs[:, :a]), np.exp(logs[:, a:]))
        called += bool((found.adjusted <= 0.1).any())
    assert 0.04 * 400 < called <= stats.binom(400, 0.1).ppf(0.99)
