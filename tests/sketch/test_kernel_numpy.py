"""What NumPy's kernel alone does: every type, and memory that is quick to transpose."""

import numpy as np
import pytest
import torch

from icshift.sketch.kernel_numpy import NumPy
from icshift.sketch.level import K
from icshift.sketch.sampler import Sampler
from icshift.sketch.workspace import Workspace
from tests.zoo.distributions import draw


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_keep_their_type(dtype):
    one = NumPy(dtype)
    rows = one.rows(30, 5)
    one.take(
        torch.from_numpy(draw("normal", 30, units=5).T.astype(dtype).copy()),
        Sampler(64, np.random.default_rng(0)),
        rows,
        0,
        np.empty(5),
        Workspace(),
    )
    shown = one.order(rows, 3, Workspace())
    assert (rows.dtype, shown.values.dtype, one.values(5, K).dtype) == (dtype, dtype, dtype)
    np.testing.assert_array_equal(rows.T, draw("normal", 30, units=5).astype(dtype))


def test_rows_a_power_of_two_apart_are_avoided():
    """They share lines of the cache, and transposing them takes six times as long."""
    assert NumPy(np.float32).rows(4, 1024).strides[0] % 4096
