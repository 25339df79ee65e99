"""Tests of whole trainings: compiled, distributed, interrupted, changed on the way."""

import pytest

pytest.register_assert_rewrite("tests.trainings.witness")
