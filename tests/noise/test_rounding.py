"""What differs by no more than numbers resolve is told from what stays and from what moves."""

import numpy as np
import pytest

from icshift.noise.rounding import ROUNDING, share_of_rounding, within_rounding


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e8])
def test_a_few_steps_of_the_type_are_rounding_and_many_are_not(dtype, size):
    step = float(np.spacing(dtype(size)))
    found = within_rounding(step * np.array([0, 1, 4, 5000]), np.zeros(4), np.full(4, size), dtype)
    assert found.tolist() == [False, True, True, False]


def test_the_coarser_type_counts():
    assert share_of_rounding(np.float64, np.float32) == ROUNDING[np.dtype(np.float32)] > share_of_rounding(np.float64)


def test_what_varies_by_more_or_is_not_known_is_no_constant():
    distance = np.array([1e-7, 1e-7, np.nan])
    assert within_rounding(distance, np.array([1e-7, 1e-3, 0.0]), np.ones(3), np.float32).tolist() == [
        True,
        False,
        False,
    ]
