"""How an object shows itself: one line for a prompt, and for a notebook a card of facts with a small chart.

A card is HTML in the colour of the text around it, so that it is light in a light notebook and dark in a dark one; it
holds no script, no style of anybody else's, and every word in it is escaped.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 260, 64
"""The size of a chart in pixels, without its labels."""

_CARD = "display:inline-block;border:1px solid rgba(128,128,128,.5);border-radius:4px;padding:6px 10px;font-size:90%"
_CELL = "text-align:left;padding:1px 10px 1px 0;border:0;background:none"


def number(value: float) -> str:
    """Returns a number with three significant digits, a dash for what is none.

    >>> [number(value) for value in (0.12345, 1234567.0, float("nan"), float("inf"))]
    ['0.123', '1.23e+06', '–', '∞']
    """
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return "–" if math.isnan(value) else f"{value:.3g}"


def one_line(text: str) -> str:
    """Returns text on one line: names and paths are somebody else's, and may hold line ends and control characters.

    >>> one_line("layer\\n\\tone")
    'layer one'
    """
    return "".join("�" if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in " ".join(text.split()))


def card(heading: str, facts: Sequence[tuple[str, str]], chart: str = "", note: str = "") -> str:
    """Returns the card: `facts` are names and values, `chart` is HTML of a function below, `note` what is not shown."""
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL};font-weight:normal;opacity:.7">{_text(name)}</th>'
        f'<td style="{_CELL}">{_text(value)}</td></tr>'
        for name, value in facts
    )
    below = f'<div style="opacity:.7">{_text(note)}</div>' if note else ""
    table = f'<table style="border-collapse:collapse;margin:4px 0;border:0">{rows}</table>'
    return f'<div style="{_CARD}"><div style="font-weight:bold">{_text(heading)}</div>{table}{chart}{below}</div>'


def bars(values: Sequence[float], names: Sequence[str], what: str) -> str:
    """Returns a chart of bars from 0, with the first and the last of the names below; each bar tells its own.

    Values that are not finite have no bar.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    spread = (high - low) or 1.0
    width = WIDTH / max(len(values), 1)
    drawn = []
    for place, (value, name) in enumerate(zip(values, names, strict=True)):
        if math.isfinite(value):
            top, tall = (high - max(value, 0.0)) / spread * HEIGHT, abs(value) / spread * HEIGHT
            at = f'x="{place * width:.2f}" y="{top:.2f}" width="{max(width - 1, 0.5):.2f}" height="{tall:.2f}"'
            drawn.append(
                f'<rect {at} fill="currentColor" fill-opacity=".6">{_title(f"{name}: {number(value)}")}</rect>'
            )
    ends = (names[0], names[-1]) if names else ("", "")
    return _chart("".join(drawn), ends, what)


def cells(values: Sequence[Sequence[float]], ends: tuple[str, str], what: str) -> str:
    """Returns a chart of a grid [rows, columns], darker where values are larger; crosses are not finite."""
    finite = [value for row in values for value in row if math.isfinite(value)]
    low, spread = (min(finite), (max(finite) - min(finite)) or 1.0) if finite else (0.0, 1.0)
    wide, tall = WIDTH / max(len(values[0]), 1), 2 * HEIGHT / max(len(values), 1)
    drawn = []
    for row, of_row in enumerate(values):
        for column, value in enumerate(of_row):
            at, above = column * wide, row * tall
            told = _title(number(value))
            if math.isfinite(value):
                shade = f'fill="currentColor" fill-opacity="{0.05 + 0.9 * (value - low) / spread:.2f}"'
                size = f'width="{wide:.2f}" height="{tall:.2f}"'
                drawn.append(f'<rect x="{at:.2f}" y="{above:.2f}" {size} {shade}>{told}</rect>')
            else:
                cross = f"M{at:.2f},{above:.2f}l{wide:.2f},{tall:.2f}m0,{-tall:.2f}l{-wide:.2f},{tall:.2f}"
                drawn.append(f'<path d="{cross}" stroke="currentColor" stroke-opacity=".5">{told}</path>')
    return _chart("".join(drawn), ends, what, height=2 * HEIGHT)


def _chart(drawn: str, ends: tuple[str, str], what: str, height: int = HEIGHT) -> str:
    below = height + 12
    words = (
        f'<text x="0" y="{below}" font-size="10" fill="currentColor">{_text(ends[0])}</text>'
        f'<text x="{WIDTH}" y="{below}" font-size="10" fill="currentColor" text-anchor="end">{_text(ends[1])}</text>'
    )
    size = f'width="{WIDTH}" height="{below + 4}" viewBox="0 0 {WIDTH} {below + 4}"'
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_text(what)}" {size}>{drawn}{words}</svg>'
    )
    return f"<div>{_text(what)}</div><div>{picture}</div>"


def _title(text: str) -> str:
    return f"<title>{_text(text)}</title>"


def _text(text: str) -> str:
    return escape(one_line(text), quote=True)
