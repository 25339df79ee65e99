"""Anatomy as a figure: the shares of the page, stacked."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.figures.anatomy import anatomy
from tests.figures.reading import DARK, LIGHT, SMALLEST, drawn, number, said, texts
from tests.page.pages import page_of_sites


def test_shares_are_those_of_the_page():
    page = page_of_sites(sites=2, windows=3)
    labels = said(anatomy(page, LIGHT))
    for site in page.sites:
        for at, window in enumerate(page.windows[1:], start=1):
            here = [label for label in labels if label.startswith(f"{site.name}, window {window.name}:")]
            found = [number(label, part) for part, label in zip(("location", "scale", "shape"), here, strict=True)]
            assert found == pytest.approx(site.parts[at].tolist())
        assert not any(label.startswith(f"{site.name}, window {page.windows[0].name}:") for label in labels)


def test_daggers_and_what_is_empty_are_explained():
    page = page_of_sites(sites=2, windows=4)
    parts = page.sites[0].parts.copy()
    parts[2] = np.nan
    marked = replace(page, sites=(replace(page.sites[0], affine=True, parts=parts), page.sites[1]))
    words = texts(anatomy(marked, LIGHT))
    assert f"{page.sites[0].name} †" in words
    assert "only shape is news" in " ".join(words.split())
    assert "empty = the shares are not known" in words
    assert "†" not in texts(anatomy(page, LIGHT))


def test_many_bars_are_one_picture():
    svg = drawn(anatomy(page_of_sites(sites=40, units=2, windows=60), LIGHT)).decode()
    assert svg.count("<image") == 1


@pytest.mark.some(2)
@pytest.mark.parametrize("size", SMALLEST.values(), ids=SMALLEST)
def test_small_ones_are_drawn(size):
    assert drawn(anatomy(page_of_sites(**size), DARK)).startswith(b"<svg")
