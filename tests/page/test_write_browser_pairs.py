"""Runs side by side in a real Chromium, and anatomy: what they say by mouse and keys is what the figures say."""

import pytest

from icshift.figures.compare import compare
from tests.figures.reading import LIGHT, said
from tests.page.browser import NEEDS_CHROMIUM, out_of_place, saved, violations
from tests.page.pages import HOSTILE, page_of_sites, pages_side_by_side

pytestmark = NEEDS_CHROMIUM


def walked(shown, rows, marks):
    """What the line under the picture says of every mark, gone to by keys."""
    shown.focus("#pairs")
    found = []
    for row in range(rows):
        shown.keyboard.press("Control+Home")
        shown.keyboard.press("Home")
        for _ in range(row):
            shown.keyboard.press("ArrowDown")
        for at in range(marks):
            if at:
                shown.keyboard.press("ArrowRight")
            found.append(shown.inner_text("#where-pair").partition(", ")[2].removesuffix("."))
    return found


def test_keys_tell_of_every_mark_what_the_figure_tells(opened):
    pages = pages_side_by_side(runs=5)
    told = walked(opened(pages), rows=2, marks=2 * 10 + 2)
    figure = [words for words in said(compare(pages.pairs, LIGHT)) if words.startswith(("fc1 : norm1", "fc2"))]
    assert sorted(told) == sorted(figure)
    assert len(set(told)) == 2 * (2 * 10 + 2)


def test_words_and_tables_are_those_of_the_comparison(opened):
    pages = pages_side_by_side(runs=5)
    shown = opened(pages)
    assert shown.inner_text("#said") == pages.pairs.sentence
    assert shown.title() == "A: a0 · B: b0 · icshift"
    assert "a note on pairs" in shown.inner_text("#pairs-notes")
    rows = saved(shown, "#pairs-tables .bar:has(#h-table-paths) button")
    marks = [mark for pair in pages.pairs.pairs for phase in ("train", "probe") for mark in pair.marks[phase]]
    assert [float(row["path [sd]"]) for row in rows] == [mark.value for mark in marks]
    assert [row["floor"] for row in rows] == [str(mark.floor) if mark.has_floor else "" for mark in marks]
    ratios = saved(shown, "#pairs-tables .bar:has(#h-table-ratios) button")
    assert [row["95 % from"] for row in ratios] == ["1.5", "", "1.5", ""]


def test_a_click_or_enter_on_a_mark_opens_its_site_in_its_run(opened):
    shown = opened(pages_side_by_side(runs=1))
    for x in range(100, 600, 10):
        shown.hover("#pairs", position={"x": x, "y": 26 + 20})
        if shown.is_visible("#tip") and shown.inner_text("#tip").startswith("fc1 : norm1, B run 1: path 1"):
            shown.click("#pairs", position={"x": x, "y": 26 + 20})
            break
    shown.wait_for_selector("#site:not([hidden])")
    assert shown.inner_text("#h-site") == "norm1"
    assert shown.input_value("#run") == "1"
    assert shown.evaluate("decodeURIComponent(location.hash)") == "#run=2&site=norm1"
    shown.focus("#pairs")
    shown.keyboard.press("Home")
    shown.keyboard.press("Enter")
    from playwright.sync_api import expect

    expect(shown.locator("#h-site")).to_have_text("fc1")
    assert shown.input_value("#run") == "0"


def test_the_run_is_switched_and_nothing_of_the_other_stays(opened):
    pages = pages_side_by_side(runs=1)
    shown = opened(pages, fragment="#run=2&site=norm1")
    assert shown.inner_text("#h-site") == "norm1"
    shown.select_option("#run", "0")
    assert shown.is_hidden("#site")
    assert shown.inner_text("#h-run") == "A: runs/a0"
    rows = saved(shown, "#atlas-csv")
    assert list(dict.fromkeys(row["site"] for row in rows)) == ["fc1", "fc2"]
    drift = [float(row["drift"]) for row in rows if row["site"] == "fc2" and row["drift"]]
    assert drift == pytest.approx(pages.runs[0].page.sites[1].drift[1:].tolist(), rel=1e-6)
    assert shown.locator("#tables h2").count() == 1


def test_runs_that_are_not_on_the_page_are_said_to_be_elsewhere(opened):
    shown = opened(pages_side_by_side(runs=2))
    shown.focus("#pairs")
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("Enter")
    assert "Run 2 of A is not on this page: icshift report makes one of it." in shown.inner_text("#where-pair")
    assert shown.is_hidden("#site")


def test_search_and_order_choose_pairs(opened):
    shown = opened(pages_side_by_side(runs=1))
    shown.fill("#pairs-search", "NORM")
    assert shown.inner_text("#pairs-count") == "1 of 2 pairs of sites."
    assert shown.locator("tr[data-pair]:visible").count() == 4
    shown.fill("#pairs-search", "nowhere")
    assert shown.inner_text("#pairs-count") == "0 of 2 pairs of sites."
    shown.fill("#pairs-search", "")
    shown.select_option("#pairs-order", "name")
    shown.focus("#pairs")
    shown.keyboard.press("Control+End")
    assert "fc2" in shown.inner_text("#where-pair")


@pytest.mark.some(2)
@pytest.mark.parametrize("width", [1280, 400, 320])
def test_nothing_lies_beyond_the_screen_or_over_something_else(opened, width):
    assert out_of_place(opened(pages_side_by_side(), width=width), width) == []


@pytest.mark.some(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(opened, scheme):
    assert violations(opened(pages_side_by_side(), scheme=scheme)) == []


def test_names_are_text_whatever_they_are(opened):
    shown = opened(pages_side_by_side(names=HOSTILE, runs=1), width=400)
    assert shown.locator("img").count() == 0
    assert shown.evaluate("document.documentElement.scrollWidth") == 400
    assert shown.locator("#pairs-tables td >> nth=0").inner_text() == HOSTILE[0]
    shown.focus("#pairs")
    shown.keyboard.press("ArrowRight")
    assert HOSTILE[0] in shown.inner_text("#where-pair")


def test_anatomy_is_the_atlas_with_other_cells(opened):
    page = page_of_sites(sites=3, units=5, windows=4)
    shown = opened(page)
    shown.select_option("#view", "parts")
    assert shown.inner_text("#h-atlas") == "Anatomy"
    assert "normalising could take away" in shown.inner_text("#parts-caption")
    shown.focus("#atlas")
    shown.keyboard.press("End")
    assert "mean (location) 20 %, sd (scale) 30 %, shape 50 % of W2²" in shown.inner_text("#where")
    shown.keyboard.press("Home")
    assert "of what its drift is made is not known" in shown.inner_text("#where")
    assert shown.evaluate("location.hash") == "#view=parts"
    rows = saved(shown, "#atlas-csv")
    shares = [float(rows[1][name]) for name in ("location", "scale", "shape")]
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=1e-6)
