"""Both kernels say the same of whatever hypothesis and chance make up: curves, and the integrals over two of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icshift.curve import curve
from icshift.kernel_choice import CHOICE, compiled
from icshift.pieces import apart, parts, parts_of_rows, squares
from icshift.tails import TAIL
from tests.covering import often
from tests.recorded import of_zoo
from tests.zoo.distributions import ZOO

pytestmark = pytest.mark.skipif(compiled is None, reason="the native kernel was not built")

few = settings(max_examples=often(60, 2000), derandomize=True, deadline=None, database=None)

CURVES = 1e-9
"""By which share of a unit's range values of both kernels differ at most: the power of a tail is looked for."""

ROUNDING = 1e-13
"""By which share of the squares of their size integrals of both differ at most."""


def by_both(function, *arguments):
    """What it returns with NumPy's kernel, and with the compiled one."""
    with pytest.MonkeyPatch.context() as environment:
        for kernel in ("numpy", "native"):
            environment.setenv(CHOICE, kernel)
            yield function(*arguments)


def range_of(found):
    return np.ptp(found.value, axis=1)[:, None]


def same_curves(*arguments):
    """Asserts that both curves are the same, and returns NumPy's."""
    expected, found = by_both(curve, *arguments)
    assert found.share.shape == found.value.shape == expected.share.shape
    np.testing.assert_allclose(found.share, expected.share, atol=1e-12, rtol=0)
    assert (np.abs(found.value - expected.value) <= CURVES * range_of(expected)).all()
    return expected


def same_integrals(first, second):
    """Asserts that integrals over two curves are the same."""
    one, other = ((each.share, each.value) for each in (first, second))
    (expected, power), (found, same) = by_both(parts, one, other)
    np.testing.assert_array_equal(power, same)
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)
    expected, found = by_both(squares, one[::-1], other[::-1])
    size = np.abs([first.value[:, [0, -1]], second.value[:, [0, -1]]]).max((0, 2))
    assert (np.abs(found - expected) <= ROUNDING * size).all()


@pytest.mark.some(24)
@pytest.mark.parametrize("n", [1, 2, 31, 300, 513, 6000, 60_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ZOO)
def test_of_the_zoo(name, n, dtype):
    kept, after = of_zoo(name, n, dtype=dtype), of_zoo("normal", 6000, seed=1, dtype=dtype)
    for size in (1.0, 1e200, 1e-200):
        given = [
            (
                one.values.astype(float) * size,
                one.sampled,
                None if one.tails is None else one.tails.astype(float) * size,
            )
            for one in (kept, after)
        ]
        first, second = (same_curves(*arrays, 0.3 * np.ones(3)) for arrays in given)
        same_integrals(first, second)
    first, second = (same_curves(one.values, one.sampled, one.tails, one.zero_share) for one in (kept, after))
    same_integrals(first, second)
    expected, found = by_both(apart, kept.values, after.values)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@st.composite
def rows(draw):
    """Values [units, k] in order, how many they stand for, tails and shares of zeros: units of all kinds at once."""
    units, width = draw(st.integers(0, 4)), draw(st.sampled_from((1, 2, 3, 5, 16, 64, 128, 300)))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.sampled_from((1e-200, 1e-30, 1.0, 1e30, 1e200)))
    values = size * (chance.normal(size=(units, width)) + draw(st.sampled_from((0.0, 1.0, -30.0))))
    kind = chance.integers(0, 6, units)[:, None]
    values = np.where(kind == 1, np.maximum(values, 0), values)
    values = np.where(kind == 2, size * np.round(values / size), values)
    values = np.where(kind == 3, values + 50 * size * (chance.random(values.shape) < 0.4), values)
    values = np.where(kind == 4, size, values)
    values = np.sort(values, axis=1)
    sampled = chance.choice([width, 2 * TAIL - 1, 2 * TAIL, width + 1, 3 * width, 1000, 10**6, 10**12], units)
    values[sampled == 2 * TAIL - 1] = draw(st.sampled_from((0.0, size)))
    tails = np.empty((units, 2 * TAIL))
    ends = np.sort(np.abs(chance.standard_cauchy(tails.shape)), axis=1) * size * draw(st.sampled_from((0.0, 0.1, 3.0)))
    tails[:, :TAIL], tails[:, TAIL:] = values[:, :1] - ends[:, TAIL - 1 :: -1], values[:, -1:] + ends[:, :TAIL]
    tails[chance.random(tails.shape) < draw(st.sampled_from((0, 0, 0.05)))] = draw(st.sampled_from((np.nan, np.inf)))
    zeros = np.where(chance.random(units) < 0.8, chance.random(units), np.nan)
    given = draw(st.sampled_from(("all", "no zeros", "no tails", "nothing")))
    dtype = np.float32 if 1e-30 <= size <= 1e30 and draw(st.booleans()) else np.float64
    return (
        values.astype(dtype),
        np.where(chance.random(units) < 0.1, 0, sampled),
        tails.astype(dtype) if given in ("all", "no zeros") else None,
        zeros if given in ("all", "no tails") else None,
    )


@few
@given(rows(), st.integers(0, 2**32 - 1))
def test_of_anything(given, seed):
    found = same_curves(*given)
    chance = np.random.default_rng(seed)
    values = np.sort(chance.normal(size=(len(found.value), 9)), axis=1) * (np.abs(found.value).max(initial=0) or 1)
    same_integrals(found, same_curves(values, np.full(len(values), 9)))
    same_integrals(found, same_curves(values, np.full(len(values), 900)))


@few
@given(rows(), st.integers(1, 600))
def test_of_rows_of_any_widths(given, width):
    values = given[0]
    other = values[:, np.arange(width) * values.shape[1] // width]
    for first, second in ((values, other), (values, other.astype(float)), (values, other + 1)):
        expected, found = by_both(apart, first, second)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        (expected, _), (found, _) = by_both(parts_of_rows, first, second)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING)


def test_what_is_too_short_is_refused():
    row, counts = np.zeros((2, 8)), np.zeros(2, np.int64)
    for slices, share in ((9, np.zeros((2, 132))), (8, np.zeros(2)), (1, np.zeros((2, 132)))):
        with pytest.raises(ValueError, match="bytes"):
            compiled.curve(row, 8, 2, slices, counts, None, None, share, np.zeros((2, 132)))
    for knots, units, found in ((9, 2, row), (8, 3, row), (8, 2, row[:0])):
        with pytest.raises(ValueError, match="bytes"):
            compiled.squares(row, row, knots, row, row, 8, units, found)
        with pytest.raises(ValueError, match="bytes"):
            compiled.parts(row, row, 8, row, row, knots, units, counts, found)
        with pytest.raises(ValueError, match="bytes"):
            compiled.apart(row, knots, row, 8, units, 8, found)
    with pytest.raises(ValueError, match="pairs"):
        compiled.parts(row, row, 7, row, row, 8, 2, counts, row)
    with pytest.raises(ValueError, match="knots"):
        compiled.squares(row, row, 0, row, row, 8, 2, row)
    with pytest.raises(TypeError, match="takes 9 arguments"):
        compiled.parts(row)
