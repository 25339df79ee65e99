"""What is drawn has the areas that it should, holes included; levels are shared, charts take what slices hold."""

import sys

import numpy as np
import pytest

from icshift.errors import IcshiftError, SelectionError
from icshift.reports.contour import MINIMUM, MODEL, OTHER, Mark, Panel, _bands, _lines, chart_format, levels_of

AXIS = np.linspace(-1, 1, 201)
SQUARES = AXIS**2 + AXIS[:, None] ** 2


def panel(losses, *, axis=AXIS, lengths=(1.0, 1.0), marks=()):
    return Panel("a model", axis, axis, losses, lengths, marks)


def area(path):
    """Of a closed path, by the shoelace formula: holes turn the other way round."""
    x, y = path["first"].to_numpy(), path["second"].to_numpy()
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def areas(losses, levels):
    """Of everything at most at each level, the highest first."""
    bands = _bands(panel(losses), levels)
    return bands.groupby("level")[["path", "first", "second"]].apply(
        lambda rows: sum(area(path) for _, path in rows.groupby("path"))
    )


def test_a_bowl_is_made_of_discs():
    levels = np.array([0.0, 0.25, 0.5, 1.0, 2.0])
    found = areas(SQUARES, levels).to_numpy()
    assert found == pytest.approx([np.pi * 0.25, np.pi * 0.5, np.pi, 4.0], rel=1e-3)


def test_a_hill_leaves_holes():
    found = areas(2 - SQUARES, np.array([0.0, 1.0, 1.5, 2.0])).to_numpy()
    assert found == pytest.approx([4 - np.pi, 4 - np.pi * 0.5, 4.0], rel=1e-3)


def test_what_is_not_finite_is_left_empty():
    losses = SQUARES.copy()
    losses[:101] = np.inf
    assert areas(losses, np.array([0.0, 1.0, 2.0])).to_numpy() == pytest.approx([np.pi / 2, 2.0], rel=0.02)


def test_lines_are_at_their_level():
    lines = _lines(panel(SQUARES), np.array([0.0, 0.25, 0.5, 2.0]))
    assert set(lines["level"]) == {0.25, 0.5}
    assert (lines["first"] ** 2 + lines["second"] ** 2).to_numpy() == pytest.approx(lines["level"].to_numpy(), abs=1e-3)


def test_levels_are_shared_and_even_in_the_logarithm_of_wide_ranges():
    levels, logarithmic = levels_of([SQUARES + 1, SQUARES + 2], 14)
    assert (levels[0], levels[-1], logarithmic) == (1, 4, False)
    assert np.diff(levels) == pytest.approx(3 / (len(levels) - 1))
    levels, logarithmic = levels_of([SQUARES + 0.01, 10 * SQUARES + np.where(SQUARES > 1, np.nan, 0.01)], 14)
    assert (levels[0], logarithmic) == (pytest.approx(0.01), True)
    assert np.diff(np.log(levels)).std() == pytest.approx(0, abs=1e-9)
    levels, logarithmic = levels_of([SQUARES - 1], 14)
    assert (levels[0], levels[-1], logarithmic) == (-1, 1, False)


MARKS = (
    Mark(MODEL, 0, 0, "here"),
    Mark(MINIMUM, 1, -1, "minimum 0"),
    Mark(OTHER, 7, 3, "far off"),
    Mark(OTHER, 0.5, 0, "b"),
)
AWKWARD = {
    "flat": np.ones((5, 5)),
    "flat at zero": np.zeros((5, 5)),
    "negative": -SQUARES[::50, ::50],
    "one point is not finite": np.where(np.eye(5) == 1, np.nan, SQUARES[::50, ::50]),
    "huge": 1e30 * SQUARES[::50, ::50] + 1e-30,
}


@pytest.mark.some(3)
@pytest.mark.parametrize("name", AWKWARD)
def test_whatever_a_slice_holds_is_drawn(name):
    drawn = chart_format(".svg")(
        [panel(AWKWARD[name], axis=AXIS[::50], marks=MARKS)], ("α", "β"), ["A title", "and more"]
    )
    text = drawn.decode()
    assert "A title" in text
    assert "minimum 0" in text
    assert "far off" not in text


def test_distances_are_as_long_across_as_up():
    axis = np.linspace(-1, 1, 5)
    drawn = chart_format(".svg")([panel(SQUARES[::50, ::50], axis=axis, lengths=(1.0, 0.5))], ("α", "β"), [""]).decode()
    assert 'width="420" height="210"' in drawn or "h420v210" in drawn


def test_what_cannot_be_drawn():
    with pytest.raises(IcshiftError, match="smaller --radius"):
        chart_format(".svg")([panel(np.full((5, 5), np.nan), axis=AXIS[::50])], ("α", "β"), [""])
    with pytest.raises(SelectionError, match=r"no chart format '\.gif'"):
        chart_format(".gif")


@pytest.mark.parametrize("missing", ["altair", "contourpy", "vl_convert"])
def test_without_the_extra(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(IcshiftError, match=rf'charts need {missing}: pip install "icshift\[charts\]"'):
        chart_format(".png")
