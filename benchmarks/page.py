"""How large the page of a run is, and how long it takes: of random sites, so without the reading of a run.

    python -m benchmarks.page [SITES WINDOWS]

Two kinds of units: noise, whose drifts have nothing in common from window to window and hardly compress, and units that
go equally far in every window. 1,024 units a site, which is what a recording keeps of 4,096. A page has at most 5 MB of
60 sites and 50 windows, and 15 MB of 200 and 100. With Debian's chromium and playwright, the time until it is ready,
and of a click on a site (median of 5), are measured too.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from icshift.page.fold import bound_of
from icshift.page.write import html
from tests.page.pages import page_of_sites


def main() -> None:
    sizes = [(int(sys.argv[1]), int(sys.argv[2]))] if len(sys.argv) > 2 else [(60, 50), (200, 100)]
    print("| sites x windows | units | MB | at most | s to pack | s until ready | ms a click |")
    print("|---|---|---|---|---|---|---|")
    for sites, windows in sizes:
        for noise in (True, False):
            page = page_of_sites(sites=sites, units=1024, windows=windows, noise=noise)
            start = time.perf_counter()
            content = html(page)
            packed = time.perf_counter() - start
            ready, click = in_browser(content, sites)
            kind = "noise" if noise else "steady"
            most = bound_of([(sites, windows)]) / 1e6
            size = f"{len(content) / 1e6:.2f} | {most:.0f} | {packed:.1f} | {ready} | {click}"
            print(f"| {sites} x {windows} | {kind} | {size} |", flush=True)


def in_browser(content: bytes, sites: int) -> tuple[str, str]:
    """The seconds until a page is ready, and the milliseconds of a click; dashes without a browser."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        return "–", "–"
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_bytes(content)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shown = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        shown.goto(file.as_uri())
        shown.wait_for_selector("html[data-ready]")
        ready = time.perf_counter() - start
        clicks = [click(shown, sites * place // 6) for place in range(1, 6)]
        browser.close()
    return f"{ready:.2f}", f"{1000 * median(clicks):.0f}"


def click(shown: Any, row: int) -> float:
    """The seconds from a click on a site that was not opened yet until it is drawn."""
    script = """async (row) => {
      const canvas = document.getElementById('atlas'), box = canvas.getBoundingClientRect(), start = performance.now();
      const rows = JSON.parse(document.getElementById('meta').textContent).runs[0].sites;
      const high = rows.length > 40 ? 14 : 20, top = box.height - 12 - rows.length * high;
      const at = { bubbles: true, clientX: box.left + 400, clientY: box.top + top + row * high + 5 };
      canvas.dispatchEvent(new MouseEvent('click', at));
      while (document.getElementById('h-site').textContent !== rows[row].name) await new Promise(requestAnimationFrame);
      await new Promise(requestAnimationFrame);
      return performance.now() - start;
    }"""
    return float(shown.evaluate(script, row)) / 1000


if __name__ == "__main__":
    main()
