"""What an SVG file says of its marks, read back as a screen reader would, and the figures to read."""

import html
import re

from icshift.figures.frame import written
from icshift.page.look import THEMES


def drawn(chart, suffix=".svg", theme="light"):
    return written(chart, suffix, theme)


def said(chart):
    """Labels of all marks of a chart."""
    return labels(drawn(chart).decode())


def labels(svg):
    return [html.unescape(text) for text in re.findall(r'aria-label="([^"]*)"', svg)]


def number(label, name):
    """The number that follows a word in a label."""
    found = re.search(rf"{re.escape(name)} (-?[\d.e+-]+)", label)
    return None if found is None else float(found[1])


def texts(chart):
    """All text of a figure in one line: what is on the axes, the caption, and the title."""
    found = re.findall(r"<text[^>]*>(.*?)</text>", drawn(chart).decode(), re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", " ".join(found))).split())


LIGHT, DARK = THEMES["light"], THEMES["dark"]

SMALLEST = {
    "one of everything": {"sites": 1, "units": 1, "windows": 1},
    "no unit": {"sites": 1, "units": 0, "windows": 3},
    "no window": {"sites": 2, "units": 3, "windows": 0},
    "two windows": {"sites": 2, "units": 3, "windows": 2},
}
