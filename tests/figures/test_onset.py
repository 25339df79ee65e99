"""Onset as a figure: the first site at the top, with the step and the band of the page."""

import re
from dataclasses import replace

import pytest

from icshift.figures.onset import onset
from tests.figures.reading import DARK, LIGHT, SMALLEST, drawn, said, texts
from tests.page.pages import page_of_sites


@pytest.fixture(scope="module")
def page():
    made = page_of_sites(sites=4)
    left = [
        replace(site, onset=step, onset_how=f"sd {step}, band")
        for site, step in zip(made.sites, (70, 12), strict=False)
    ]
    unknown = replace(made.sites[2], onset=None, onset_unknown="3 steps: it takes 13")
    return replace(made, sites=(*left, unknown, replace(made.sites[3], onset=None)))


def test_the_first_is_at_the_top_and_in_the_title(page):
    words, svg = texts(onset(page, LIGHT)), drawn(onset(page, LIGHT)).decode()
    first = page.sites[1].name
    assert f"{first} left the band of its past first, at step 12" in words
    places = [int(y) for y in re.findall(r'translate\([\d.-]+,(\d+)[^)]*\)"[^>]*>(?:block0.layer[01])<', svg)]
    names = re.findall(r">(block0.layer[01])<", svg)
    assert sorted(zip(places, names, strict=True))[0][1] == first


def test_steps_and_bands_are_those_of_the_page(page):
    labels = said(onset(page, LIGHT))
    assert {f"{site.name}: step {site.onset}: {site.onset_how}" for site in page.sites[:2]} <= set(labels)


def test_what_stayed_and_what_is_unknown_are_told_apart(page):
    words = texts(onset(page, LIGHT))
    assert words.count("stayed in its band") == 1
    assert "? 3 steps: it takes 13" in words


def test_nothing_left_or_nothing_known(page):
    stayed = replace(page, sites=(page.sites[3],))
    assert "No site left the band of its past" in texts(onset(stayed, LIGHT))
    assert "Onset is unknown" in texts(onset(replace(page, sites=(page.sites[2],)), LIGHT))


@pytest.mark.some(2)
@pytest.mark.parametrize("size", SMALLEST.values(), ids=SMALLEST)
def test_small_ones_are_drawn(size):
    assert drawn(onset(page_of_sites(**size), DARK)).startswith(b"<svg")
