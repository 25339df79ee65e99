"""Integrals over two functions of a unit, by both kernels, against closed forms, sampled functions and SciPy."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from icshift.pieces import GAUSS, apart, parts, parts_of_rows, pieces, squares

pytestmark = pytest.mark.usefixtures("each_kernel")

LINES = {
    "line": ([0.0, 1.0], [0.0, 2.0]),
    "bent": ([0.0, 0.25, 0.25, 1.0], [-1.0, 0.0, 0.0, 3.0]),
    "gap": ([0.0, 0.5, 0.5, 1.0], [0.0, 1.0, 4.0, 4.0]),
    "atom": ([0.0, 0.2, 0.2, 0.7, 0.7, 1.0], [-2.0, 1.0, 1.0, 1.0, 1.0, 1.5]),
    "constant": ([0.0, 1.0], [1.5, 1.5]),
    "steps": ([0.0, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 1.0], [0.0, 0.0, 1.0, 1.0, 5.0, 5.0]),
    "knots without width": ([0.0, 0.0, 0.0, 0.4, 0.4, 1.0, 1.0, 1.0], [-9.0, -8.0, 0.0, 1.0, 1.0, 2.0, 2.0, 30.0]),
}
"""Knots in pairs."""

PAIRS = [(one, other) for one in LINES for other in LINES]


def lines(name):
    return tuple(np.array([one]) for one in LINES[name])


def sampled(name, at):
    places, values = LINES[name]
    return np.interp(at, places, values)


MIDDLES = (np.arange(600_000) + 0.5) / 600_000
"""No knot is among them, and all lie at edges between them."""


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_parts_are_those_of_sampled_functions(pair):
    first, second = (sampled(name, MIDDLES) for name in pair)
    location = (first.mean() - second.mean()) ** 2
    scale = (first.std() - second.std()) ** 2
    shape = np.mean((first - first.mean() - second + second.mean()) ** 2) - scale
    found, power = parts(*map(lines, pair))
    np.testing.assert_allclose(np.ldexp(found, 2 * power)[:, 0], [location, scale, shape], atol=1e-8)
    whole = squares(*map(lines, pair))
    np.testing.assert_allclose(whole, np.mean((first - second) ** 2), atol=1e-8)
    np.testing.assert_allclose(np.ldexp(found, 2 * power).sum(0), whole, atol=1e-12)


@pytest.mark.parametrize("name", LINES)
def test_nothing_lies_between_a_function_and_itself(name):
    assert not parts(lines(name), lines(name))[0].any()
    assert not squares(lines(name), lines(name)).any()


def test_squares_are_exact_also_beyond_the_first_and_last_knots():
    first = np.array([[0.0, 1.0, 1.0, 2.0]]), np.array([[0.0, 1.0, 5.0, 5.0]])
    second = np.array([[0.0, 0.5, 2.0]]), np.array([[2.0, 2.0, 2.0]])
    # From 0 to 1 the integral of (x - 2)^2, from 1 to 2 that of 3^2.
    np.testing.assert_allclose(squares(first, second), 7 / 3 + 9)
    one, other = (np.array([[2.0, 2.0]]), np.array([[0.0, 1.0]])), (np.array([[5.0, 7.0]]), np.array([[0.0, 1.0]]))
    # 1 from 2 to 5, and a line from 1 to 0 after that.
    np.testing.assert_allclose(squares(one, other), 3 + 2 / 3)


def test_pieces_are_given_where_gauss_has_them():
    found = pieces(lines("gap"), lines("bent"))
    assert found.first.shape == found.second.shape == (len(GAUSS), *found.width.shape)
    np.testing.assert_allclose(found.width.sum(1), 1)
    np.testing.assert_allclose((found.width * found.second.mean(0)).sum(1), -0.125 + 1.125)


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
def test_parts_of_numbers_whose_squares_fit_no_float(size):
    one, other = (np.array([[0.0, 1.0]]), np.array([[0.0, size]])), (np.array([[0.0, 1.0]]), np.array([[size, size]]))
    found, power = parts(one, other)
    np.testing.assert_allclose(np.ldexp(np.sqrt(found[:, 0]), power), [size / 2, size / np.sqrt(12), 0], rtol=1e-7)


def test_a_stretch_whose_slope_has_no_number_is_a_step(each_kernel):
    if each_kernel == "numpy":
        pytest.skip("NumPy's interpolation gives infinity")
    one = np.array([[0.0, 1e-320, 1.0]]), np.array([[0.0, 1.0, 1.0]])
    other = np.array([[0.0, 1.0]]), np.array([[0.0, 0.0]])
    np.testing.assert_allclose(squares(one, other), 1)


@pytest.mark.parametrize("widths", [(128, 128), (300, 200), (1, 7), (512, 128), (6, 4)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_as_far_apart_as_scipy_says(widths, dtype):
    random = np.random.default_rng(4)
    first, second = (np.sort(random.normal(size=(5, width)).astype(dtype), axis=1) for width in widths)
    expected = [wasserstein_distance(*pair) for pair in zip(first.astype(float), second.astype(float), strict=True)]
    np.testing.assert_allclose(apart(first, second), expected, rtol=1e-12)
    quantiles = [np.repeat(rows.astype(float), np.lcm(*widths) // rows.shape[1], axis=1) for rows in (first, second)]
    found, power = parts_of_rows(first, second)
    np.testing.assert_allclose(
        np.ldexp(found, 2 * power).sum(0), ((quantiles[0] - quantiles[1]) ** 2).mean(1), rtol=1e-12
    )


def test_rows_of_two_types_are_compared_as_they_are():
    first, second = np.array([[0.1]], np.float32), np.array([[0.1]])
    assert apart(first, second) == abs(float(np.float32(0.1)) - 0.1)


def test_rows_without_values_are_not_compared():
    none, some = np.empty((2, 0)), np.ones((2, 3))
    for pair in ((none, some), (some, none), (none, none), (some * np.nan, some)):
        assert np.isnan(apart(*pair)).all()
        assert np.isnan(parts_of_rows(*pair)[0]).all()


def test_the_largest_numbers_are_apart_by_a_number():
    assert apart(np.full((1, 3), 1.7e308), np.zeros((1, 3))) == pytest.approx(1.7e308)
    assert apart(np.full((1, 3), 1.7e308), np.zeros((1, 2))) == pytest.approx(1.7e308)


def test_of_no_units_there_is_nothing():
    none = np.empty((0, 4)), np.empty((0, 4))
    assert squares(none, none).shape == (0,)
    assert parts(none, none)[0].shape == (3, 0)
    assert apart(*none).shape == (0,)
