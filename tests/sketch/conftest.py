"""The kernels that there are: laws of what they compute run on each."""

import pytest

from icshift.kernel_choice import CHOICE, compiled
from icshift.sketch.kernel import chosen, kernel


@pytest.fixture(params=["numpy", "native"])
def either_kernel(request, monkeypatch):
    """The kernel in use: one after the other."""
    if request.param == "native" and compiled is None:
        pytest.skip("the native kernel was not built: `python setup.py build_ext --inplace`")
    monkeypatch.setenv(CHOICE, request.param)
    chosen.cache_clear()
    yield kernel
    chosen.cache_clear()
