"""Memory that is used again: what is taken is as asked for, and taken from what was there."""

import numpy as np
import pytest

from icshift.sketch.workspace import Workspace


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool, np.int64])
def test_an_array_is_of_the_shape_and_type_asked_for(dtype):
    array = Workspace().take("a", (3, 5, 2), dtype)
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((3, 5, 2), dtype, True)
    array[...] = 1
    assert (array == 1).all()


def test_the_same_name_is_the_same_memory_where_it_suffices():
    workspace = Workspace()
    large = workspace.take("a", (100,), np.float64)
    large[:] = 7
    small = workspace.take("a", (10,), np.float64)
    assert np.shares_memory(large, small)
    assert (small == 7).all()
    larger = workspace.take("a", (101,), np.float64)
    assert not np.shares_memory(large, larger)
    assert np.shares_memory(larger, workspace.take("a", (202,), np.float32))


def test_other_names_have_other_memory():
    workspace = Workspace()
    assert not np.shares_memory(workspace.take("a", (8,), np.float32), workspace.take("b", (8,), np.float32))


def test_of_nothing():
    assert Workspace().take("a", (0, 4), np.float32).shape == (0, 4)
