"""Tests of recording: real models, really trained."""

import pytest

pytest.register_assert_rewrite("tests.capture.oracle")
