"""The atlas as a figure shows the numbers of the page, and of `icshift report`."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.by_site import summary
from icshift.figures.atlas import atlas, step_place
from icshift.figures.image import palette
from icshift.page import look
from icshift.page.write import html
from tests.figures.reading import DARK, LIGHT, SMALLEST, drawn, number, said, texts
from tests.page.pages import HOSTILE, page_of_sites


def cells(labels):
    """What is said of cells, by site and window."""
    found = {}
    for label in labels:
        if place := re.match(r"(\S+), window (.*?) \(steps", label):
            found[place[1], place[2]] = label
    return found


def test_every_cell_tells_the_numbers_of_the_page_and_of_its_file():
    page = page_of_sites(sites=4, units=10, windows=6)
    found = cells(said(atlas(page, LIGHT)))
    meta = json.loads(re.search(r'id="meta">(.*?)</script>', html(page).decode(), re.DOTALL)[1])
    for site, packed in zip(page.sites, meta["runs"][0]["sites"], strict=True):
        for name in ("drift", "floor", "ratio"):
            of_file = np.frombuffer(base64.b64decode(packed[name]), "<f4")
            read = [number(found[site.name, window.name], name) for window in page.windows[1:]]
            known = np.array([np.nan if value is None else value for value in read])
            np.testing.assert_allclose(known, getattr(site, name)[1:], rtol=1e-6)
            np.testing.assert_allclose(known, of_file[1:], rtol=1e-6)
        assert (site.name, page.windows[0].name) not in found


def test_the_last_window_is_that_of_the_report(normed):
    run, page = normed
    found, last = cells(said(atlas(page, LIGHT))), page.windows[-1].name
    table = summary(run).set_index("site")
    for site, column, name in ((s, c, n) for s in table.index for c, n in (("drift", "drift"), ("floor", "floor"))):
        assert number(found[site, last], name) == pytest.approx(table.loc[site, column], rel=1e-6)


def test_titles_carry_run_phase_reference_metric_floor_and_n():
    words = texts(atlas(page_of_sites(), LIGHT))
    for known in ("run", "phase train", "against the window before", "w1_sd [sd]", "floor: what sampling", "n = 640"):
        assert known in " ".join(words.split())


def test_a_cell_has_the_colour_of_its_code():
    page = page_of_sites(sites=3, units=10, windows=4)
    svg = drawn(atlas(page, LIGHT)).decode()
    table = np.frombuffer(palette(LIGHT), np.uint8).reshape(256, 3)
    for site in page.sites:
        for at, window in enumerate(page.windows):
            if site.codes[at] >= look.LOWEST:
                fill = re.search(rf'aria-label="{site.name}, window {window.name} [^>]*fill="([^"]*)"', svg)[1]
                colour = [int(part) for part in re.findall(r"\d+", fill)]
                if fill.startswith("#"):
                    colour = [int(fill[place : place + 2], 16) for place in (1, 3, 5)]
                assert colour == pytest.approx(table[site.codes[at]].tolist(), abs=2)


def test_marks_are_told_and_explained():
    chart = atlas(page_of_sites(), LIGHT)
    assert any("left the band of its past at step 12: sd 2.000" in label for label in said(chart))
    assert "triangle = the step at which a site left" in texts(chart)
    assert "dot = dead units" in texts(chart)


def test_the_window_that_is_looked_at_is_framed():
    page = page_of_sites(windows=5)
    assert "window 2" in said(atlas(replace(page, window=1), LIGHT))
    assert "window 5" not in said(atlas(page, LIGHT))


def test_many_cells_are_one_picture_of_their_codes():
    page = page_of_sites(sites=101, units=2, windows=50)
    svg = drawn(atlas(page, LIGHT)).decode()
    assert svg.count("<image") == 1
    assert len(svg) < 200_000
    assert "101 rows by 50 windows" in svg


@pytest.mark.some(2)
@pytest.mark.parametrize("size", SMALLEST.values(), ids=SMALLEST)
def test_small_ones_are_drawn(size):
    assert drawn(atlas(page_of_sites(**size), DARK)).startswith(b"<svg")


def test_names_are_text_whatever_they_are():
    svg = drawn(atlas(page_of_sites(names=list(HOSTILE), units=2, windows=3), LIGHT)).decode()
    assert "<script" not in svg
    assert "<img" not in svg


def test_nothing_is_asked_of_a_network():
    svg = drawn(atlas(page_of_sites(), LIGHT)).decode()
    assert set(re.findall(r'(?:href|src)="(.{5})', svg)) <= {"data:"}
    assert not re.search(r"url\((?!#)", svg)


def test_a_step_has_a_place_along_the_windows():
    page = page_of_sites(windows=3)
    assert step_place(page, 0) == pytest.approx(0.05)
    assert step_place(page, 15) == pytest.approx(1.55)
    assert step_place(page, 99) == 3
