"""The page in a real Chromium: it asks for nothing, complains of nothing, and does what it says by mouse and keys."""

import re
from dataclasses import replace

import numpy as np
import pytest

from icshift.page.look import PALETTES
from tests.page.browser import NEEDS_CHROMIUM, out_of_place, saved, violations
from tests.page.pages import HOSTILE, SHOWN, page_of_sites

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def made():
    return page_of_sites(sites=7, units=40, windows=12)


def visible(shown):
    return int(shown.inner_text("#count").split()[0])


def atlas_place(shown, row, column, columns=12, rows=7):
    """Where a cell of the atlas lies on the screen."""
    box = shown.locator("#atlas").bounding_box()
    top = box["height"] - 12 - 20 * rows + 20 * row + 10
    left = shown.evaluate("(() => { const c = document.getElementById('atlas'); return c.clientWidth; })()")
    label = max(96, min(280, 0.34 * left, 14 + shown.evaluate(MEASURE)))
    return {"x": round(label) + (left - round(label) - 12) * (column + 0.5) / columns, "y": top}


MEASURE = """(() => { const pen = document.createElement('canvas').getContext('2d');
pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
const { sites } = JSON.parse(document.getElementById('meta').textContent).runs[0];
return Math.max(...sites.map((site) => pen.measureText(site.name).width)); })()"""

PIXEL = """([x, y]) => { const canvas = document.getElementById('atlas');
const pen = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true });
pen.drawImage(canvas, 0, 0);
return Array.from(pen.getImageData(x, y, 1, 1).data); }"""


def test_the_words_are_there_from_top_to_bottom(opened, made):
    shown = opened(made)
    assert shown.inner_text("#lead p >> nth=0") == made.sentences[0]
    for words in (
        made.command,
        made.notes[0],
        made.versions,
        "1 s",
        "not above what chance shows",
        "a neuron, a channel",
    ):
        assert words in shown.inner_text("body")
    assert shown.title() == "run · icshift"


def test_a_click_opens_a_site_and_another_one_a_unit(opened, made):
    shown = opened(made)
    shown.click("#atlas", position=atlas_place(shown, 2, 5))
    shown.wait_for_selector("#site:not([hidden])")
    assert shown.inner_text("#h-site") == made.sites[2].name
    assert f"{made.sites[2].name}, window 6 (steps 50 to 59); drift " in shown.inner_text("#where")
    shown.click("#units", position={"x": 300, "y": 46 + 4})
    assert shown.inner_text("#h-unit") == f"Unit {made.sites[2].units.ids[0]} of {made.sites[2].name}"
    assert shown.locator("#fan").bounding_box()["height"] > 100
    assert (
        shown.evaluate("decodeURIComponent(location.hash)")
        == f"#site={made.sites[2].name}&unit={made.sites[2].units.ids[0]}"
    )


def test_what_is_remembered_opens_again(opened, made):
    unit = made.sites[3].units.ids[1]
    shown = opened(made, fragment=f"#site={made.sites[3].name}&unit={unit}")
    assert shown.inner_text("#h-unit") == f"Unit {unit} of {made.sites[3].name}"


def test_keys_do_all_of_it(opened, made):
    shown = opened(made)
    shown.focus("#atlas")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Home", "ArrowRight", "ArrowRight"):
        shown.keyboard.press(key)
    assert shown.inner_text("#where").startswith(f"{made.sites[1].name}, window 3 ")
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#site:not([hidden])")
    assert shown.evaluate("document.activeElement.id") == "h-site"
    shown.focus("#units")
    for key in ("ArrowDown", "End", "Enter"):
        shown.keyboard.press(key)
    unit = made.sites[1].units.ids[1]
    assert shown.inner_text("#h-unit").startswith(f"Unit {unit} of")
    assert shown.inner_text("#where-unit").startswith(f"unit {unit}, window 12: ")
    shown.keyboard.press("Escape")
    assert shown.is_hidden("#unit")
    shown.keyboard.press("Escape")
    assert shown.is_hidden("#site")
    shown.keyboard.press("Control+End")
    assert made.sites[-1].name in shown.inner_text("#where")
    shown.keyboard.press("/")
    assert shown.evaluate("document.activeElement.id") == "search"


def test_a_unit_without_pictures_says_so(opened):
    page = page_of_sites(sites=1, units=200, windows=4)
    shown = opened(page, fragment=f"#site={page.sites[0].name}")
    missing = next(unit for at, unit in enumerate(page.sites[0].units.ids) if at not in page.sites[0].fans.places)
    shown.fill("#unit-number", str(missing))
    assert "no percentiles and densities are on this page: they are of 32 units" in shown.inner_text("#unit-facts")
    assert shown.is_hidden("#fan")


def test_search_order_and_show_choose_sites_and_keep_what_is_open(opened, made):
    shown = opened(made)
    assert visible(shown) == 7
    shown.click("#atlas", position=atlas_place(shown, 4, 5))
    shown.wait_for_selector("#site:not([hidden])")
    shown.fill("#search", "LAYER4")
    assert visible(shown) == 1
    assert shown.inner_text("#h-site") == made.sites[4].name
    assert shown.locator("tr[data-site]:visible").count() == 1
    shown.click("#atlas", position=atlas_place(shown, 0, 5, rows=1))
    assert f"{made.sites[4].name}, window 6 " in shown.inner_text("#where")
    shown.fill("#search", "")
    shown.select_option("#only", "left")
    assert visible(shown) == 1
    shown.select_option("#only", "all")
    shown.select_option("#order", "worst")
    by_worst = sorted(made.sites, key=lambda site: -np.nanmax(site.ratio))
    assert list(dict.fromkeys(row["site"] for row in saved(shown, "#atlas-csv"))) == [site.name for site in by_worst]


def test_tables_sort_and_hand_out_what_they_hold(opened, made):
    shown = opened(made)
    shown.click("th:has-text('value') button")
    assert shown.locator("tbody tr td >> nth=0").inner_text() == made.sites[-1].name
    assert shown.get_attribute("th:has-text('value')", "aria-sort") == "descending"
    rows = saved(shown, "#tables button:text-is('CSV')")
    assert [float(row["value"]) for row in rows] == [at + 0.5 for at in reversed(range(7))]


def test_csv_of_the_atlas_and_of_units_is_the_data(opened, made):
    shown = opened(made)
    rows = saved(shown, "#atlas-csv")
    site = made.sites[2]
    here = [row for row in rows if row["site"] == site.name]
    assert [row["drift"] == "" for row in here] == np.isnan(site.drift).tolist()
    assert [float(row["drift"]) for row in here[1:]] == pytest.approx(site.drift[1:].tolist(), rel=1e-6)
    assert [float(row["ratio"]) for row in here[1:]] == pytest.approx(site.ratio[1:].tolist(), rel=1e-6)
    shown.click("#atlas", position=atlas_place(shown, 2, 5))
    shown.wait_for_selector("#site:not([hidden])")
    units = saved(shown, "#units-csv")
    assert [int(row["unit"]) for row in units] == site.units.ids.tolist()
    assert [float(row["largest_ratio"]) for row in units] == pytest.approx(site.units.worst.tolist(), rel=1e-6)


def rgb(hex_colour):
    return np.array([int(hex_colour[at : at + 2], 16) for at in (1, 3, 5)], float)


def test_a_cell_has_the_colour_of_its_code(opened, made):
    shown = opened(made)
    anchors = np.array([rgb(colour) for colour in PALETTES["viridis"]])
    for row, column in ((1, 4), (2, 7), (3, 9), (5, 2)):
        place = atlas_place(shown, row, column)
        pixel = shown.evaluate(PIXEL, [round(place["x"]) - 12, round(place["y"]) + 5])
        at = (int(made.sites[row].codes[column]) - 10) / 245 * (len(anchors) - 1)
        expected = [np.interp(at, range(len(anchors)), anchors[:, channel]) for channel in range(3)]
        assert pixel[:3] == pytest.approx(expected, abs=1)


def test_names_are_text_whatever_they_are(opened):
    page = page_of_sites(names=list(HOSTILE), units=6, windows=3)
    shown = opened(page, width=400)
    assert shown.title() == "run · icshift"
    assert shown.locator("img").count() == 0
    assert shown.locator("td >> nth=0").inner_text() == HOSTILE[0]
    assert shown.evaluate("document.documentElement.scrollWidth") == 400
    for number in range(len(HOSTILE)):
        shown.focus("#atlas")
        shown.keyboard.press("Control+Home")
        for _ in range(number):
            shown.keyboard.press("ArrowDown")
        shown.keyboard.press("Enter")
        shown.wait_for_function("(name) => document.getElementById('h-site').textContent === name", arg=SHOWN[number])


@pytest.mark.some(2)
@pytest.mark.parametrize("width", [1280, 400, 320])
def test_nothing_lies_beyond_the_screen_or_over_something_else(opened, made, width):
    shown = opened(made, width=width)
    shown.focus("#atlas")
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#site:not([hidden])")
    shown.focus("#units")
    shown.keyboard.press("Enter")
    assert out_of_place(shown, width) == []


def test_dark_and_light_by_the_system_and_by_choice(opened, made):
    shown = opened(made, scheme="dark")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    assert shown.evaluate(ground) == "rgb(20, 22, 26)"
    shown.select_option("#theme", "light")
    assert shown.evaluate(ground) == "rgb(255, 255, 255)"


@pytest.mark.some(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_overview_site_unit_and_anatomy(opened, made, scheme):
    shown = opened(made, scheme=scheme)
    assert violations(shown) == []
    shown.focus("#atlas")
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#site:not([hidden])")
    assert violations(shown) == []
    shown.focus("#units")
    shown.keyboard.press("Enter")
    shown.select_option("#view", "parts")
    assert violations(shown) == []


def test_a_picture_of_it_is_not_empty(opened, made):
    picture = opened(made).screenshot()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_a_site_without_a_series_has_no_empty_picture(opened):
    page = page_of_sites(sites=1, units=4, windows=3)
    empty = replace(page.sites[0].series, number=np.zeros(0, int), quantiles=np.zeros((0, 5)))
    bare = replace(page.sites[0], series=empty, onset=None, onset_unknown="no series of steps")
    shown = opened(replace(page, sites=(bare,)), fragment=f"#site={bare.name}")
    assert shown.inner_text("#h-series").endswith("no series of steps was recorded")
    assert shown.locator("#series").bounding_box() is None
    assert "is unknown: no series of steps" in shown.inner_text("#site-facts")


SMALLEST = {
    "one of everything": {"sites": 1, "units": 1, "windows": 1},
    "no unit": {"sites": 1, "units": 0, "windows": 3},
    "two windows": {"sites": 2, "units": 3, "windows": 2},
    "many windows": {"sites": 2, "units": 5, "windows": 500},
}


@pytest.mark.some(2)
@pytest.mark.parametrize("size", SMALLEST.values(), ids=SMALLEST)
def test_small_and_odd_pages_open(opened, size):
    shown = opened(page_of_sites(**size), width=400)
    shown.focus("#atlas")
    for key in ("End", "ArrowUp", "Enter"):
        shown.keyboard.press(key)
    shown.wait_for_selector("#site:not([hidden])")
    shown.focus("#units")
    for key in ("End", "PageDown", "Enter"):
        shown.keyboard.press(key)
    assert shown.evaluate("document.documentElement.scrollWidth") == 400


def test_a_page_of_many_sites_answers(opened):
    shown = opened(page_of_sites(sites=120, units=250, windows=30))
    assert visible(shown) == 120
    shown.focus("#atlas")
    shown.keyboard.press("PageDown")
    shown.keyboard.press("Enter")
    shown.wait_for_selector("#site:not([hidden])")
    assert re.search("250 of 250 units are here", shown.inner_text("#units-note"))
