"""Modules may be called anything: every name is drawn, whatever XML and JavaScript make of it."""

from functools import cache

import pytest

from icshift.figures.anatomy import anatomy
from icshift.figures.atlas import atlas
from icshift.figures.frame import _OF_JAVASCRIPT
from icshift.figures.onset import onset
from tests.figures.reading import LIGHT, drawn, said
from tests.page.pages import page_of_sites

NAMES = [*sorted(_OF_JAVASCRIPT), "\x1b[31mred", "a\nb", "a\x00b", "\u202eab", "</text>", "&amp;", "[0]", "null", "0"]


def of_name(figure, name):
    return figure(page_of_sites(windows=4, names=["first", name, "last"]), LIGHT)


@cache
def words_of_ordinary(figure):
    return len(said(of_name(figure, "second")))


@pytest.mark.some(5)
@pytest.mark.covering(1)
@pytest.mark.parametrize("figure", [atlas, onset, anatomy])
@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_drawn_whatever_a_site_is_called(figure, name, capfd):
    odd = of_name(figure, name)
    assert len(said(odd)) == words_of_ordinary(figure) > 3
    assert drawn(odd, ".png").startswith(b"\x89PNG")
    assert capfd.readouterr().err == ""
