"""Numbers in findings are short."""

from icshift.selfcheck.check import figure, power


def test_figures_are_short():
    assert [figure(value) for value in (0.01234, 12.34, 1234.5, 0.0)] == ["0.0123", "12.3", "1,234", "0"]
    assert [power(value) for value in (1e-6, 2.2e-15)] == ["1e-6", "2e-15"]
