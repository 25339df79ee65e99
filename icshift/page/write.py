"""A `Page` as the bytes of one HTML file: markup, style and script as they are in `assets/`, and the page's data.

Nothing in the file asks for anything outside of it: its policy allows the style and the script whose hashes it names,
and nothing else. Names come from somebody's model: they go in as JSON and are put on the page as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from icshift.page import look
from icshift.page.fold import LADDER, Fold, bound_of, folded, in_words
from icshift.page.model import Floats, Page, SiteOnPage
from icshift.page.pack import exact, packed

SCHEMA = 1
"""The number of what a page's data mean; it rises where an older script would read them wrong."""


def html(page: Page, bound: int | None = None) -> bytes:
    """Returns the page as a file of at most so many bytes, or of what is least; see `fold.bound_of`.

    What does not fit is folded, and the page says so.
    """
    most = bound_of(len(page.sites), len(page.windows)) if bound is None else bound
    around = _around(page)
    for fold in LADDER:
        blocks = [packed(site) for site in folded(page, fold).sites]
        if sum(len(block) for block, _ in blocks) + around <= most or fold is LADDER[-1]:
            return _filled(page, fold, blocks)
    raise AssertionError("the ladder is not empty")


def _around(page: Page) -> int:
    """Returns the bytes of all but the blocks of the sites."""
    return len(_filled(page, LADDER[0], [("", {})] * len(page.sites)))


def _filled(page: Page, fold: Fold, blocks: list[tuple[str, dict[str, Any]]]) -> bytes:
    style = _theme() + _asset("page.css")
    script = _asset("page.js")
    meta = _meta(page, fold, [lengths for _, lengths in blocks])
    data = "\n".join(f'<script type="text/plain" id="s{at}">{block}</script>' for at, (block, _) in enumerate(blocks))
    parts = {
        "POLICY": f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_hash(style)}; "
        f"script-src {_hash(script)}",
        "STYLE": style,
        "META": _inert(meta),
        "BLOCKS": data,
        "SCRIPT": script,
    }
    text = _asset("page.html")
    for name, value in parts.items():
        before, found, after = text.partition(f"<!--{name}-->")
        assert found, name
        text = before + value + after
    return text.encode()


def _asset(name: str) -> str:
    return files("icshift.page").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _theme() -> str:
    """Returns the colours of `look.THEMES` as a style: light, dark where the screen is, or whichever is asked for."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in look.THEMES[theme].items()) for theme in look.THEMES
    )
    return (
        f":root{{color-scheme:light;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light]){{color-scheme:dark;{dark}}}}}\n"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}\n"
    )


def _inert(value: Any) -> str:
    """Returns JSON that holds no `<`: nothing in it can end the element that it is in."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _meta(page: Page, fold: Fold, lengths: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "title": page.title,
        "subtitle": page.subtitle,
        "command": page.command,
        "sentences": page.sentences,
        "facts": page.facts,
        "warnings": page.warnings,
        "notes": page.notes,
        "versions": page.versions,
        "folded": in_words(page, fold),
        "paired": fold.paired,
        "window": page.window,
        "metric": page.metric,
        "unit": page.unit,
        "scale": {
            **{"ofFloor": page.scale.of_floor, "low": page.scale.low, "high": page.scale.high},
            **{"label": page.scale.label, "ticks": page.scale.ticks, "lowest": look.LOWEST, "levels": look.LEVELS},
            "states": {str(code): words for code, words in look.states(page.scale).items()},
        },
        "palettes": look.PALETTES,
        "read": look.how_to_read(page.scale),
        "glossary": look.GLOSSARY,
        "windows": [[window.index, window.name, window.first, window.last] for window in page.windows],
        "lines": [{"name": line.name, "values": _numbers(line.values)} for line in page.lines],
        "sites": [_site(site, each) for site, each in zip(page.sites, lengths, strict=True)],
        "tables": [{"name": each.name, "columns": each.columns, "rows": each.rows} for each in page.tables],
    }


def _site(site: SiteOnPage, lengths: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"name": site.name, "block": site.block, "type": site.type, "of": site.of, "n": site.n, "note": site.note},
        **{
            "affine": site.affine,
            "onset": site.onset,
            "onsetHow": site.onset_how,
            "onsetUnknown": site.onset_unknown,
            "why": _why(site.why),
        },
        **{name: exact(getattr(site, name)) for name in ("drift", "floor", "ratio", "moved", "parts")},
        **{name: getattr(site, name).tolist() for name in ("dead", "constant", "nonfinite", "codes")},
        "block_of": lengths,
    }


def _why(reasons: tuple[str, ...]) -> dict[str, str]:
    return {str(at): reason for at, reason in enumerate(reasons) if reason}


def _numbers(values: Floats) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values.tolist()]
