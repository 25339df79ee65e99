"""The lines and cards of a spectrum and of a slice hold their numbers."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.card import number
from icshift.gradients.cards import DRAWN
from icshift.gradients.hessian import Spectrum
from icshift.gradients.slices import Slice
from tests.cards import HOSTILE, Card

SPECTRUM = Spectrum(
    eigenvalues=np.array([12.5, 3.25]),
    errors=np.array([0.001, 0.002]),
    vectors=[],
    smallest=-0.5,
    smallest_error=0.01,
    condition=float("nan"),
    converged=False,
    products=64,
    parameters=1234,
)
AXIS = np.linspace(-1, 1, 3)
SLICE = Slice(
    first=AXIS,
    second=AXIS,
    losses=np.array([[3.0, 2.0, np.inf], [1.5, 0.5, 1.0], [9.0, 2.0, 4.0]]),
    lengths=(2.0, 3.0),
    cosine=0.125,
    minimum=(0.1, 0.2, 0.25),
    minimum_gap="",
    lowest=(0.0, 0.0, 0.5),
    at_edge=False,
    curvatures=(100.0, 1.0),
    elongation=10.0,
    quadratic_minimum=(0.0, 0.0),
)


def test_a_spectrum_is_one_line():
    assert repr(SPECTRUM) == ("<Spectrum of 1,234 parameters: 12.5 ± 0.001 to -0.5 ± 0.01, condition –, not converged>")


def test_a_card_of_a_spectrum_has_every_eigenvalue_with_its_error():
    shown = Card(SPECTRUM._repr_html_())
    assert shown.facts["eigenvalue 1"] == "12.5 ± 0.001"
    assert shown.facts["eigenvalue 2"] == "3.25 ± 0.002"
    assert shown.facts["smallest"] == "-0.5 ± 0.01"
    assert shown.facts["condition"].startswith("– (")
    assert shown.facts["errors below the tolerance"] == "no"
    assert shown.told == ["1: 12.5", "2: 3.25", "smallest: -0.5"]
    assert "Of 1,234 eigenvalues those between are not known." in shown.text
    whole = replace(SPECTRUM, parameters=3, condition=7.0, converged=True)
    assert Card(whole._repr_html_()).facts["condition"] == "7"
    assert "not known" not in Card(whole._repr_html_()).text


def test_a_slice_is_one_line():
    assert repr(SLICE) == "<Slice of 3 × 3 losses: lowest 0.5, curvatures 100 and 1>"
    assert "0.5 at the edge" in repr(replace(SLICE, at_edge=True))


def test_a_card_of_a_slice_has_every_loss():
    shown = Card(SLICE._repr_html_())
    assert shown.told == [number(loss) for loss in SLICE.losses.ravel()]
    assert shown.facts["lowest point"] == "0.5 at (0, 0)"
    assert shown.facts["minimum between points"] == "0.25 at (0.1, 0.2)"
    assert shown.facts["curvatures"] == "100 and 1"
    assert shown.facts["losses that are not finite"] == "1, crossed out"


def test_a_minimum_that_there_is_not_has_its_reason():
    gone = replace(SLICE, minimum=(np.nan,) * 3, minimum_gap=HOSTILE, losses=np.full((3, 3), np.nan))
    shown = Card(gone._repr_html_())
    assert shown.facts["minimum between points"].startswith("– (")
    assert shown.told == ["–"] * 9
    assert "\n" not in repr(gone)


@pytest.mark.parametrize(("points", "every"), [(DRAWN, 1), (DRAWN + 1, 2), (121, 3)])
def test_of_many_points_some_are_drawn_and_it_says_so(points, every):
    axis = np.linspace(-1, 1, points)
    large = replace(SLICE, first=axis, second=axis, losses=axis[:, None] + axis)
    shown = Card(large._repr_html_())
    assert len(shown.told) == len(axis[::every]) ** 2
    assert (f"One point of {every}" in shown.text) == (every > 1)
