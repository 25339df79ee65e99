"""Numbers in findings are short, and the value that is furthest off is found, also where it is none."""

import pytest

from icshift.selfcheck.check import Compared, figure, power, worst_of


def test_figures_are_short():
    assert [figure(value) for value in (0.01234, 12.34, 1234.5, 0.0)] == ["0.0123", "12.3", "1,234", "0"]
    assert [power(value) for value in (1e-6, 2.2e-15)] == ["1e-6", "2e-15"]


def test_errors_are_relative_and_of_zero_absolute():
    assert Compared(2.2, 2.0).error == pytest.approx(0.1)
    assert Compared(0.3, 0.0).error == pytest.approx(0.3)


def test_what_is_not_a_number_is_furthest_off():
    found = {"a": Compared(1.5, 1.0), "b": Compared(float("nan"), 1.0), "c": Compared(1.0, 1.0)}
    assert worst_of(found)[0] == "b"
    assert worst_of(found)[1] > 1e300
    del found["b"]
    assert worst_of(found) == ("a", 0.5)
