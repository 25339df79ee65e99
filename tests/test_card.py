"""A card is well-formed, escapes every word, and its marks tell the values that they are drawn from."""

import math

import pytest

from icshift.card import HEIGHT, WIDTH, bars, card, cells, number, one_line
from tests.cards import HOSTILE, Card


def test_facts_and_notes_are_told():
    shown = Card(card("A run", [("sites", "3"), ("steps", "40")], note="Drift is not shown."))
    assert shown.facts == {"sites": "3", "steps": "40"}
    assert "A run" in shown.text
    assert "Drift is not shown." in shown.text


def test_every_word_is_escaped():
    html = card(HOSTILE, [(HOSTILE, HOSTILE)], bars([1.0], [HOSTILE], HOSTILE), HOSTILE)
    shown = Card(html)
    assert "<script" not in html
    plain = one_line(HOSTILE)
    assert shown.facts == {plain: plain}
    assert shown.told == [f"{plain}: 1"]


def test_bars_are_as_tall_as_their_values():
    shown = Card(f"<div>{bars([2.0, -1.0, math.nan, 0.0], list('abcd'), 'what')}</div>")
    assert shown.told == ["a: 2", "b: -1", "d: 0"]
    tall = [float(mark.get("height")) for mark in shown.marks]
    assert tall == pytest.approx([2 / 3 * HEIGHT, HEIGHT / 3, 0], abs=0.01)
    tops = [float(mark.get("y")) for mark in shown.marks]
    assert tops[0] == 0
    assert tops[1] == pytest.approx(tall[0], abs=0.01)


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, math.nan], [0.0, 0.0], [1e308, -1e308]])
def test_bars_of_anything_are_well_formed(values):
    assert Card(f"<div>{bars(values, [str(at) for at in range(len(values))], 'what')}</div>")


def test_cells_are_darker_where_values_are_larger():
    shown = Card(f"<div>{cells([[0.0, 1.0], [math.inf, 2.0]], ('-1', '1'), 'loss')}</div>")
    assert shown.told == ["0", "1", "∞", "2"]
    shades = [float(mark.get("fill-opacity")) for mark in shown.marks if mark.get("fill-opacity")]
    assert shades == pytest.approx([0.05, 0.5, 0.95], abs=0.01)
    assert [float(mark.get("x")) for mark in shown.marks if mark.get("x")] == [0, WIDTH / 2, WIDTH / 2]


def test_cells_without_a_finite_value_are_well_formed():
    assert Card(f"<div>{cells([[math.nan]], ('', ''), 'loss')}</div>").told == ["–"]


@pytest.mark.parametrize("text", [HOSTILE, "a\r\nb", "\x00", "\u2028x", "\ud800", "a\x85b"])
def test_a_line_is_one_line_that_xml_can_hold(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line.encode()
    assert all(sign.isprintable() for sign in line)


def test_numbers_have_three_digits_and_a_dash_for_none():
    assert [number(value) for value in (0.0, 1234.5, -1e-9, math.nan, -math.inf)] == [
        "0",
        "1.23e+03",
        "-1e-09",
        "–",
        "-∞",
    ]
