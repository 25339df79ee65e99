"""The laws of merging distributions, on values that hypothesis chooses: ties, zeros, NaN, infinity, few or many."""

from functools import reduce

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from icshift.distribution import Distribution
from tests import laws
from tests.covering import often
from tests.recorded import distribution

few = settings(max_examples=often(15, 300), derandomize=True, deadline=None, database=None)

SCALES = (0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30)


FINITE, ANY = (0.0, -0.0, 1.0), (0.0, -0.0, 1.0, np.nan, np.inf, -np.inf)


@st.composite
def recorded(draw, odd=ANY):
    """Values [units, n] as parts [units, some of n], each with some rows at least, and the whole."""
    units = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.sampled_from((1, 2, 5, 64, 300, 513)), min_size=1, max_size=4))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale, centre = draw(st.sampled_from(SCALES)), draw(st.sampled_from((0.0, 1.0, -7.5)))
    values = (centre * scale + scale * chance.normal(size=(units, sum(lengths)))).astype(np.float32)
    if draw(st.booleans()):
        values = np.round(values, 1)
    odd = draw(arrays(np.float32, st.integers(0, 12), elements=st.sampled_from(odd)))
    places = chance.integers(0, values.size, len(odd))
    values.reshape(-1)[places] = odd
    values = values.astype(np.float64)  # So that an oracle does not round.
    return np.split(values, np.cumsum(lengths)[:-1], axis=1), values


@few
@given(recorded(odd=FINITE))
def test_merging_in_any_order_stands_for_all_values(given):
    parts, values = given
    laws.any_order_of_merge([distribution(part) for part in parts], values, np.random.default_rng(0))


@few
@given(recorded())
def test_merging_stands_for_all_values_also_where_some_are_not_finite(given):
    parts, values = given
    recorded = [distribution(part) for part in parts]
    for ordered in (recorded, recorded[::-1]):
        laws.assert_stands_for(reduce(Distribution.merge, ordered), values)


@few
@given(recorded())
def test_merging_with_nothing_changes_nothing_and_what_is_merged_stays(given):
    parts, values = given
    laws.identity_of_merge(distribution(values))
    laws.inputs_of_merge_unchanged(distribution(parts[0]), distribution(parts[-1]))
