"""Make the pictures of docs/page.md and docs/figures.md: python docs/pictures.py

Takes Debian's chromium, and Pillow, which makes pictures of few colours small. It records `icshift demo`, some minutes.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent

FIGURES = {
    "atlas": ("plain", "--figure", "atlas"),
    "onset": ("plain", "--figure", "onset"),
    "fan": ("plain", "batch-norm", "--figure", "fan"),
    "units": ("plain", "--figure", "units", "--site", "fc3"),
    "anatomy": ("batch-norm", "--figure", "anatomy"),
    "compare": ("plain", "batch-norm", "--figure", "compare"),
    "atlas-dark": ("plain", "--figure", "atlas", "--theme", "dark"),
}

PAGES = {
    "page-overview": {},
    "page-site": {"site": "fc3"},
    "page-unit": {"site": "fc3", "unit": True},
    "page-filter": {"search": "fc3", "scheme": "dark"},
    "page-narrow": {"width": 400, "height": 860},
    "page-dark": {"scheme": "dark", "site": "fc2"},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(sys.argv[1]) if len(sys.argv) > 1 else recorded(Path(folder))
        for name, (*given, figure, which) in ((name, split(options)) for name, options in FIGURES.items()):
            file = Path(folder) / f"{name}.png"
            icshift(runs, "report", *given, figure, *which, "-o", str(file))
            (HERE / f"figure-{name}.png").write_bytes(small(file.read_bytes(), 1100))
        page = Path(folder) / "page.html"
        icshift(runs, "report", "plain", "-o", str(page))
        screenshots(page)


def split(options: tuple[str, ...]) -> tuple[Any, ...]:
    """Returns the runs, then `--figure`, then all that follows it."""
    at = options.index("--figure")
    return (*options[:at], "--figure", options[at + 1 :])


def recorded(folder: Path) -> Path:
    icshift(folder, "demo", "-o", "demo", "-q")
    return folder / "demo"


def icshift(where: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "icshift", *arguments], cwd=where, check=True)


def screenshots(page: Path) -> None:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, how in PAGES.items():
            (HERE / f"{name}.png").write_bytes(small(shot(browser, page, how), 1280))
        browser.close()


def shot(browser: Any, page: Path, how: dict[str, Any]) -> bytes:
    size = {"width": how.get("width", 1280), "height": how.get("height", 900)}
    shown = browser.new_page(viewport=size, color_scheme=how.get("scheme", "light"))
    shown.goto(page.as_uri() + (f"#site={how['site']}" if "site" in how else ""))
    shown.wait_for_selector("html[data-ready]")
    if "search" in how:
        shown.fill("#search", how["search"])
    if "unit" in how:
        shown.focus("#units")
        shown.keyboard.press("Enter")
    if "site" in how:
        shown.locator("#unit" if "unit" in how else "#site").scroll_into_view_if_needed()
        shown.evaluate(f"document.getElementById('{'h-unit' if 'unit' in how else 'h-site'}').scrollIntoView()")
    picture: bytes = shown.screenshot()
    shown.close()
    return picture


def small(picture: bytes, width: int) -> bytes:
    """Returns a picture at most so wide, of at most 128 colours, rare ones too: a red mark among much grey."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    if image.width > width:
        image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
