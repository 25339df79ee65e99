"""Make the pictures of docs/page.md, docs/comparing.md and docs/figures.md: python docs/pictures.py [FOLDER]

Takes Debian's chromium, and Pillow, which comes with the dev extra and makes pictures of few colours small. It records
`icshift demo` and `examples/diverging.py`, some minutes, and takes the recordings that FOLDER has of an earlier call.
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

SEEDS = {name: [name, *(f"seeds/{seed}/{name}" for seed in range(2, 6))] for name in ("plain", "batch-norm")}

FIGURES = {
    "atlas": ("plain", "--figure", "atlas"),
    "onset": ("plain", "--figure", "onset"),
    "fan": ("plain", "batch-norm", "--figure", "fan"),
    "units": ("plain", "--figure", "units", "--site", "fc3"),
    "anatomy": ("batch-norm", "--figure", "anatomy"),
    "atlas-dark": ("plain", "--figure", "atlas", "--theme", "dark"),
}

GROUPS = [*SEEDS["plain"], "--with", *SEEDS["batch-norm"]]

PAGES = {
    "page": ("diverging", {}),
    "page-overview": ("plain", {}),
    "page-site": ("plain", {"site": "fc3"}),
    "page-unit": ("plain", {"site": "fc3", "unit": True}),
    "page-filter": ("plain", {"search": "fc3", "scheme": "dark"}),
    "page-narrow": ("plain", {"width": 400, "height": 860}),
    "page-dark": ("plain", {"scheme": "dark", "site": "fc2"}),
    "page-anatomy": ("batch-norm", {"view": "parts", "to": "h-atlas", "height": 420}),
    "page-compare": ("compare", {"height": 700}),
    "page-compare-dark": ("compare", {"scheme": "dark", "width": 400, "height": 860}),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder)
        if not (runs / "demo").exists():
            icshift(runs, "demo", "-o", "demo", "-q")
            icshift(runs, "run", str(HERE.parent / "examples" / "diverging.py"), "-o", "diverging", "-q")
        made = Path(folder)
        for name, (*given, figure, which) in ((name, split(options)) for name, options in FIGURES.items()):
            icshift(runs / "demo", "report", *given, figure, *which, "-o", str(made / f"{name}.png"))
        icshift(runs / "demo", "compare", *GROUPS, "-q", "-o", str(made / "compare.png"))
        for name in (*FIGURES, "compare"):
            (HERE / f"figure-{name}.png").write_bytes(small((made / f"{name}.png").read_bytes(), 1100))
        for name in ("plain", "batch-norm"):
            icshift(runs / "demo", "report", name, "-o", str(made / f"{name}.html"))
        icshift(runs, "report", "diverging/net", "-o", str(made / "diverging.html"))
        icshift(runs / "demo", "compare", *GROUPS, "-q", "-o", str(made / "compare.html"))
        screenshots(made)


def split(options: tuple[str, ...]) -> tuple[Any, ...]:
    """Returns the runs, then `--figure`, then all that follows it."""
    at = options.index("--figure")
    return (*options[:at], "--figure", options[at + 1 :])


def icshift(where: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "icshift", *arguments], cwd=where, check=True)


def screenshots(pages: Path) -> None:
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (page, how) in PAGES.items():
            (HERE / f"{name}.png").write_bytes(small(shot(browser, pages / f"{page}.html", how), 1280))
        browser.close()


def shot(browser: Any, page: Path, how: dict[str, Any]) -> bytes:
    size = {"width": how.get("width", 1280), "height": how.get("height", 900)}
    shown = browser.new_page(viewport=size, color_scheme=how.get("scheme", "light"))
    asked = "&".join(f"{name}={how[name]}" for name in ("site", "view") if name in how)
    shown.goto(f"{page.as_uri()}#{asked}")
    shown.wait_for_selector("html[data-ready]")
    if "search" in how:
        shown.fill("#search", how["search"])
    if "unit" in how:
        shown.focus("#units")
        shown.keyboard.press("Enter")
    if place := "h-unit" if "unit" in how else "h-site" if "site" in how else how.get("to", ""):
        shown.evaluate(f"document.getElementById('{place}').scrollIntoView()")
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
