"""Exact Wasserstein-1, moments and blocks of rows, by both kernels, against SciPy, POT and slow formulas."""

import numpy as np
import ot
import pytest
from scipy.stats import wasserstein_distance

from icshift import kernel_choice
from icshift.arrays.measure import blocks_of, compared
from icshift.blocks import SLICES

KINDS = {
    "normal": lambda random, shape: random.normal(size=shape),
    "relu": lambda random, shape: np.maximum(random.normal(size=shape), 0),
    "far from 0": lambda random, shape: random.normal(1e4, 1, shape),
    "cauchy": lambda random, shape: random.standard_cauchy(shape),
    "ties": lambda random, shape: np.round(random.normal(size=shape)),
    "powers of 2": lambda random, shape: 2.0 ** random.integers(-100, 100, shape),
    "tiny": lambda random, shape: random.normal(size=shape) * 1e-41,
    "one far off": lambda random, shape: np.where(random.random(shape) < 0.999, random.normal(size=shape), 1e30),
    "constant": lambda _, shape: np.full(shape, 0.1),
}
SIZES = [(5000, 5000), (3000, 1237), (40, 1), (3, 2), (1, 1)]


@pytest.fixture(autouse=True)
def kernel(each_kernel):
    return each_kernel


@pytest.mark.some(12)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_w1_is_that_of_scipy(kind, dtype):
    random = np.random.default_rng(3)
    for n, m in SIZES:
        a, b = (KINDS[kind](random, (rows, 5)).astype(dtype) for rows in (n, m))
        b[:, 1:3] += dtype(0.5)  # The same and moved.
        expected = [wasserstein_distance(x, y) for x, y in zip(a.T.astype(float), b.T.astype(float), strict=True)]
        np.testing.assert_allclose(compared(a, b)[0], expected, rtol=1e-10, atol=1e-300)


def test_w1_is_that_of_pot():
    a, b = np.random.default_rng(1).normal(size=(2, 400, 3))
    assert compared(a, b)[0] == pytest.approx(ot.wasserstein_1d(a, b))


def test_laws_of_a_distance():
    a, b = np.random.default_rng(2).normal(size=(2, 900, 19)).astype(np.float32)
    b = b[:700]
    assert (compared(a, a)[0] == 0).all()
    assert (compared(a, a[::-1])[0] == 0).all()
    np.testing.assert_allclose(compared(a, b)[0], compared(b, a)[0], rtol=1e-12)
    doubled = np.repeat(a, 2, axis=0)
    np.testing.assert_allclose(compared(doubled, b)[0], compared(a, b)[0], rtol=1e-12)


def test_values_that_are_not_finite_are_left_out():
    random = np.random.default_rng(4)
    a, b = random.normal(size=(2, 300, 6))
    a[random.random(a.shape) < 0.1] = np.nan
    b[::7, 2], b[::5, 3], b[:, 4], a[1:, 5] = np.inf, -np.inf, np.nan, np.nan
    w1, first, second = compared(a, b)
    for unit in range(6):
        x, y = (one[np.isfinite(one[:, unit]), unit] for one in (a, b))
        assert (first.n[unit], second.n[unit]) == (len(x), len(y))
        if len(y):
            assert w1[unit] == pytest.approx(wasserstein_distance(x, y))
            assert first.mean[unit] == pytest.approx(x.mean())
            assert (first.std[unit], second.std[unit]) == (pytest.approx(x.std()), pytest.approx(y.std()))
        else:
            assert np.isnan([w1[unit], second.mean[unit], second.std[unit]]).all()


def test_values_whose_differences_have_no_number():
    a, b = np.array([[-1.5e308], [1.0]]), np.array([[1.5e308], [1.0]])
    assert compared(a, b)[0] == pytest.approx(1.5e308)
    assert compared(np.array([[1e308]]), np.array([[1e308]]))[0] == 0


def test_arrays_of_any_layout():
    a, b = np.random.default_rng(5).normal(size=(2, 100, 70)).astype(np.float32)
    expected = compared(a, b)[0]
    np.testing.assert_array_equal(compared(np.asfortranarray(a), b)[0], expected)
    np.testing.assert_allclose(compared(a.astype(float), b)[0], expected, rtol=1e-10)
    np.testing.assert_array_equal(compared(a[:, ::2], b[:, ::2])[0], expected[::2])


@pytest.mark.parametrize("n", [1, 5, 20, 1000, 5000])
def test_blocks_are_of_consecutive_rows(n):
    random = np.random.default_rng(n)
    rows = np.maximum(random.normal(size=(n, 11)), -1).astype(np.float32)
    rows[random.random(rows.shape) < 0.02] = np.nan
    rows[:, 0] = 0
    found = blocks_of(rows)
    assert found.steps.sum() == n
    assert len(found) == min(n, 16)
    ends = np.cumsum(found.steps)
    for block, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        part = rows[start:end].astype(float)
        np.testing.assert_array_equal(found.sampled[:, block], np.isfinite(part).sum(0))
        np.testing.assert_array_equal(found.zeros[:, block], (part == 0).sum(0))
        known = found.sampled[:, block] > 0
        means = np.nanmean(np.where(np.isfinite(part), part, np.nan)[:, known], axis=0)
        np.testing.assert_allclose(found.slices[known, block].mean(1), means, atol=1e-12)


def test_slices_of_a_block_are_those_of_its_stretches():
    rows = np.arange(128.0)[:, None].repeat(2, 1)
    slices = blocks_of(rows).slices
    assert slices.shape == (2, 16, SLICES)
    np.testing.assert_allclose(slices[0, 0], np.arange(8.0))


@pytest.mark.skipif(kernel_choice.compiled is None, reason="the native kernel was not built")
def test_both_kernels_agree_on_blocks(monkeypatch):
    rows = np.random.default_rng(9).normal(size=(2345, 70)).astype(np.float32)
    rows[::50, 3] = np.inf
    found = []
    for kernel in ("numpy", "native"):
        monkeypatch.setenv(kernel_choice.CHOICE, kernel)
        found.append(blocks_of(rows))
    np.testing.assert_allclose(found[0].slices, found[1].slices, atol=1e-12)


@pytest.mark.skipif(kernel_choice.compiled is None, reason="the native kernel was not built")
def test_the_kernel_refuses_too_little_memory():
    rows, found = np.zeros((4, 3), np.float32), np.zeros((7, 3))
    for arguments in (
        (rows, 5, rows, 4, 3, 4, found, 0, 3),
        (rows, 4, rows, 4, 4, 4, found, 0, 4),
        (rows, 0, rows, 4, 3, 4, found, 0, 3),
        (rows, 4, rows, 4, 3, 4, found, 0, 4),
    ):
        with pytest.raises(ValueError, match="bytes"):
            kernel_choice.compiled.w1(*arguments)
    with pytest.raises(ValueError, match="stretches"):
        kernel_choice.compiled.blocks(rows, 4, 3, 5000, found, found, found, 1, 0, 3)


def test_threads_change_nothing(monkeypatch):
    a, b = np.random.default_rng(7).normal(size=(2, 300, 83)).astype(np.float32)
    w1, blocks = compared(a, b)[0], blocks_of(a)
    monkeypatch.setattr("icshift.arrays.measure._WORTH_A_THREAD", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(7))
    np.testing.assert_array_equal(compared(a, b)[0], w1)
    np.testing.assert_array_equal(blocks_of(a).slices, blocks.slices)
