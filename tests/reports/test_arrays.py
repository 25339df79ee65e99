"""What is said of two dumps of activations."""

import numpy as np

from icshift.arrays.drift import drift
from icshift.reports.arrays import arrays_report


def said(a, b):
    report = arrays_report("a", "b", drift(a, b), 5)
    return " ".join([str(report.body[0]), *report.notes, *report.warnings])


def test_rows_that_are_not_independent_are_said_to_be():
    random = np.random.default_rng(1)
    walks = np.cumsum(random.normal(size=(2, 1600, 20)), axis=1) / 40
    words = said(*walks)
    assert "Rows are not independent: neighbouring blocks of 100 rows correlate by 0." in words
    assert "6 times as far" in words
    assert "too few blocks" not in words


def test_of_few_rows_nothing_is_promised():
    rows = np.random.default_rng(2).normal(size=(2, 8, 3))
    assert "too few blocks of rows to tell whether rows depend on each other" in said(*rows)
    words = said(rows[0, :4], rows[1])
    assert "cannot be told: an array of 4 rows: it takes 6" in words
    assert "by noise alone" not in words


def test_near_constant_units_are_marked():
    rows = np.random.default_rng(3).normal(size=(2, 200, 3))
    rows[:, :, 1] = 4
    assert "near-constant, 1 unit;" in said(*rows)
