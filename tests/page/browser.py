"""A real Chromium, driven by playwright, and what is asked of every page in it."""

import csv
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None or find_spec("playwright") is None,
    reason="no chromium or no playwright: apt-get install chromium, pip install playwright to test the page in it",
)

BOXES = """() => [...document.querySelectorAll(
'h1,h2,h3,#lead p,dl,.tools>*,.looks>*,.steps>*,canvas,.scroll,.where,li')].filter((e) => e.getClientRects().length)
.map((e) => { const b = e.getBoundingClientRect();
return [e.tagName + '#' + e.id, b.left, b.top, b.right, b.bottom]; })"""


def saved(shown, button):
    """The rows of the CSV file that a button hands out."""
    with shown.expect_download() as download:
        shown.click(button)
    return list(csv.DictReader(Path(download.value.path()).read_text().splitlines()))


def out_of_place(shown, width):
    """What lies beyond the screen, or over something else."""
    found = [] if shown.evaluate("document.documentElement.scrollWidth") == width else ["the page is wider"]
    boxes = shown.evaluate(BOXES)
    assert len(boxes) > 30
    for at, (name, left, top, right, bottom) in enumerate(boxes):
        if left < 0 or right > width + 0.5:
            found.append(f"{name} lies beyond the screen")
        for other, left2, top2, right2, bottom2 in boxes[at + 1 :]:
            across, down = min(right, right2) - max(left, left2), min(bottom, bottom2) - max(top, top2)
            if across > 1 and down > 1:
                found.append(f"{name} and {other} overlap")
    return found


def violations(shown):
    """Every rule of axe-core that is broken, with the elements that break it.

    The script is evaluated, not put into the page, whose policy allows no other than its own.
    """
    package = find_spec("axe_playwright_python")
    if package is None:
        pytest.skip("axe-playwright-python is not installed: nothing is checked by axe-core")
    shown.evaluate(f"() => {{ {Path(package.origin).with_name('axe.min.js').read_text()} }}")
    rules = shown.evaluate("async () => (await axe.run(document)).violations")
    return [f"{rule['id']}: {node['target']} {node['html'][:120]}" for rule in rules for node in rule["nodes"]]
