"""One scale, one palette and one set of words for every renderer."""

import numpy as np
import pytest

from icshift.analysis.metrics import metric
from icshift.page import look

NAN = np.nan


def luminance(colour):
    """Relative luminance as WCAG 2.2 has it."""
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", look.THEMES)
def test_text_can_be_read(theme):
    colours = look.THEMES[theme]
    for ground in ("ground", "panel"):
        for text in ("ink", "quiet", "accent", "mark"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


@pytest.mark.parametrize("palette", look.PALETTES)
def test_palettes_grow_lighter_all_the_way(palette):
    steps = np.diff([luminance(colour) for colour in look.PALETTES[palette]])
    assert (steps > 0).all()


def test_codes_are_places_on_the_scale_of_floors():
    scale = look.Scale(True, 0.0, 4.0, "", ((0.0, "1×"),))
    drift = np.array([1.0, 2.0, 4.0, 16.0, 1e6, 0.5, NAN, 3.0])
    floor = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, NAN])
    codes = scale.codes(drift, floor, np.array([False] * 8))
    assert codes[0] == look.CHANCE
    assert codes[1:5].tolist() == [10 + round(245 / 4), 10 + round(245 / 2), 255, 255]
    assert codes[5:].tolist() == [look.CHANCE, look.ABSENT, look.UNKNOWN]


def test_what_is_not_above_chance_has_no_colour_however_far_it_is():
    scale = look.Scale(True, 0.0, 4.0, "", ((0.0, "1×"),))
    assert scale.codes(np.array([8.0]), np.array([1.0]), np.array([True])) == [look.CHANCE]


def test_drift_over_a_floor_of_0_is_far():
    scale = look.Scale(True, 0.0, 4.0, "", ((0.0, "1×"),))
    codes = scale.codes(np.array([0.1, 0.0]), np.zeros(2), np.zeros(2, bool))
    assert codes.tolist() == [255, look.CHANCE]


def test_a_page_without_floors_has_a_scale_of_drift():
    drift = np.array([NAN, 0.5, 0.002])
    scale = look.scale_of(metric("w1_sd"), drift, np.array([NAN, 0.0, 0.0]))
    assert not scale.of_floor
    assert (scale.low, scale.high) == (-3, 0)
    assert "without a floor" in scale.label
    assert "[sd]" in scale.label
    codes = scale.codes(np.append(drift, 0.0), np.zeros(4), np.zeros(4, bool))
    assert codes[0] == look.ABSENT
    assert codes[1] > codes[2] >= look.LOWEST
    assert codes[3] == look.CHANCE
    assert look.states(scale)[look.CHANCE][1] == "no drift beyond the error of what is kept"
    assert not any("over what chance" in line for line in look.how_to_read(scale))


def test_a_scale_of_floors_reaches_as_far_as_the_data_but_not_for_ever():
    for top, high in ((3.0, 3), (30.0, 5), (1e9, 12)):
        scale = look.scale_of(metric("w1_sd"), np.array([top, 1.0]), np.array([1.0, 1.0]))
        assert scale.of_floor
        assert scale.high == high
        assert scale.ticks[0] == (0.0, "1×")


def test_nothing_measured_is_a_scale_too():
    scale = look.scale_of(metric("w1_sd"), np.array([NAN]), np.array([NAN]))
    assert scale.codes(np.array([NAN]), np.array([NAN]), np.array([False])) == [look.ABSENT]
