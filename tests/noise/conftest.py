"""All that is said of noise holds with both kernels."""

import pytest

from icshift import kernel_choice


@pytest.fixture(
    autouse=True,
    params=["numpy", pytest.param("native", marks=pytest.mark.skipif(kernel_choice.compiled is None, reason="no"))],
)
def kernel(request, monkeypatch):
    monkeypatch.setenv(kernel_choice.CHOICE, request.param)
    return request.param
