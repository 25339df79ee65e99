"""Tests of icshift; they mirror the package."""

import pytest

pytest.register_assert_rewrite("tests.laws", "tests.oracles", "tests.record.trained")
