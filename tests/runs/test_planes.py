"""Bytes sorted by place: either kernel gives back what was sorted, bit by bit."""

import numpy as np
import pytest

from icshift import kernel_choice
from icshift.runs.planes import joined, split


@pytest.fixture(autouse=True)
def kernel(each_kernel):
    return each_kernel


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize(("rows", "n"), [(0, 8), (5, 0), (1, 1), (3, 7), (40, 128), (7, 33)])
def test_what_is_split_is_joined(dtype, rows, n):
    size = np.dtype(dtype).itemsize
    given = np.random.default_rng(0).integers(0, 256, (rows, n * size), np.uint8).view(dtype)
    planes = split(given)
    assert planes.shape == (rows, n * size)
    np.testing.assert_array_equal(joined(planes, np.dtype(dtype)).view(np.uint8), given.view(np.uint8))


def test_bytes_of_a_place_stand_together():
    planes = split(np.array([[0x04030201, 0x14131211], [0, -1]], "<i4"))
    assert planes.tolist() == [[0x01, 0x11, 0x02, 0x12, 0x03, 0x13, 0x04, 0x14], [0, 255] * 4]


def test_numbers_that_lie_apart_in_memory_are_split_as_they_stand():
    given = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(split(given[::2, ::-1]), split(given[::2, ::-1].copy()))
    shared = np.broadcast_to(split(given[:1]), (3, 24))
    np.testing.assert_array_equal(joined(shared, np.dtype("<f4")), np.repeat(given[:1], 3, axis=0))


def test_the_compiled_kernel_refuses_what_does_not_fit():
    if kernel_choice.compiled is None:
        pytest.skip("the native kernel was not built")
    join = kernel_choice.compiled.join_planes
    with pytest.raises(ValueError, match="bytes"):
        join(np.zeros((2, 8), np.uint8), 2, 2, 8, np.zeros((2, 2), np.float64))
    with pytest.raises(ValueError, match="values of 3 bytes"):
        join(np.zeros((2, 6), np.uint8), 2, 2, 3, np.zeros((2, 2), np.float64))
