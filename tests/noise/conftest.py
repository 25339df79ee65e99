"""All that is said of noise holds with both kernels."""

import pytest


@pytest.fixture(autouse=True)
def kernel(each_kernel):
    return each_kernel
