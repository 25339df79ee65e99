"""Which kernel is in use, and what is said where another was asked for."""

import warnings

import numpy as np
import pytest

from icshift import kernel_choice
from icshift.kernel_choice import CHOICE
from icshift.sketch.kernel import chosen, kernel
from icshift.sketch.kernel_native import Native
from icshift.sketch.kernel_numpy import NumPy

built = pytest.mark.skipif(kernel_choice.compiled is None, reason="the native kernel was not built")


@pytest.fixture(autouse=True)
def _chosen_anew():
    chosen.cache_clear()
    yield
    chosen.cache_clear()


@pytest.fixture
def without(monkeypatch):
    """As where there was no compiler."""
    monkeypatch.setattr(kernel_choice, "compiled", None)


@built
@pytest.mark.parametrize("asked", ["", "native"])
def test_native_is_in_use_where_it_is(asked, monkeypatch):
    monkeypatch.setenv(CHOICE, asked)
    assert kernel_choice.in_use() == "native"
    assert isinstance(kernel(np.float32), Native)
    assert isinstance(kernel(np.float64), NumPy)


def test_numpy_may_be_asked_for(monkeypatch):
    monkeypatch.setenv(CHOICE, "numpy")
    assert isinstance(kernel(np.float32), NumPy)
    assert kernel_choice.in_use().startswith("numpy")


@pytest.mark.usefixtures("without")
def test_numpy_is_in_use_without_a_word_where_native_was_not_built(monkeypatch):
    monkeypatch.delenv(CHOICE, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(kernel(np.float32), NumPy)
    assert kernel_choice.in_use() == "numpy (the native kernel was not built)"


@pytest.mark.usefixtures("without")
def test_native_asked_for_and_absent_is_one_notice(monkeypatch):
    monkeypatch.setenv(CHOICE, "native")
    with pytest.warns(RuntimeWarning, match=r"ICSHIFT_KERNEL asks for the native kernel, which was not built") as said:
        kernel(np.float32)
    assert isinstance(kernel(np.float32), NumPy)
    assert len(said) == 1


def test_an_unknown_kernel_is_one_notice(monkeypatch):
    monkeypatch.setenv(CHOICE, "fortran")
    with pytest.warns(RuntimeWarning, match="is 'fortran', where numpy or native is known"):
        kernel(np.float32)
