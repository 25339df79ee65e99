"""PNG and PDF are the SVG, whose marks are read back elsewhere: so all three show the same numbers."""

import re

import pytest
import vl_convert

from icshift.figures.atlas import atlas
from icshift.figures.compare import compare
from icshift.figures.frame import FORMATS
from tests.figures.reading import LIGHT, drawn
from tests.page.pages import page_of_sites, pairs_of_groups

CHARTS = {
    "atlas": lambda sites: atlas(page_of_sites(sites=sites, units=4, windows=4), LIGHT),
    "compare": lambda runs: compare(pairs_of_groups(runs), LIGHT),
}


def lines(pdf):
    """The lines of a PDF file in an order of their own, without places in it.

    What a page uses is listed in an order that is another one every time.
    """
    return sorted(line for line in pdf.split(b"\n") if not re.fullmatch(rb"\d{10} \d{5} n\r?|\d+", line))


@pytest.mark.some(1)
@pytest.mark.parametrize("name", CHARTS)
def test_png_and_pdf_are_of_the_picture_that_the_svg_is(name):
    chart, other = CHARTS[name](3), CHARTS[name](4)
    svg, another = drawn(chart).decode(), drawn(other).decode()
    assert drawn(chart, ".png") == vl_convert.svg_to_png(svg, scale=2) != vl_convert.svg_to_png(another, scale=2)
    pdf = lines(drawn(chart, ".pdf"))
    assert pdf == lines(vl_convert.svg_to_pdf(svg))
    assert pdf != lines(vl_convert.svg_to_pdf(another))


def test_there_is_no_other_format():
    assert set(FORMATS) == {".svg", ".png", ".pdf"}
