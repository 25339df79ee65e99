"""A `Page`, or several, as the bytes of one HTML file: markup, style and script of `assets/`, and the page's data.

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
from icshift.page import parts as words
from icshift.page.fold import LADDER, Fold, bound_of, folded, in_words
from icshift.page.model import Floats, Page, SiteOnPage, Table
from icshift.page.pack import exact, packed
from icshift.page.pairs import (
    PATHS,
    Pairs,
    Panel,
    about,
    caption,
    farther,
    mark_in_words,
    panels,
    ratio_in_words,
    title,
)
from icshift.page.several import Pages, alone, tables
from icshift.replicates.alignment import GROUPS
from icshift.reports.harmless import in_one_direction

SCHEMA = 2
"""The number of what a page's data mean; it rises where an older script would read them wrong."""


def html(pages: Page | Pages, bound: int | None = None) -> bytes:
    """Returns the page of one run or of several as a file of at most so many bytes, or of what is least.

    The bound is that of `fold.bound_of` by default. What does not fit is folded, and the page says so.
    """
    pages = alone(pages) if isinstance(pages, Page) else pages
    most = bound_of([(len(one.page.sites), len(one.page.windows)) for one in pages.runs]) if bound is None else bound
    for fold in LADDER:
        content = _filled(pages, fold, [packed(site) for one in pages.runs for site in folded(one.page, fold).sites])
        if len(content) <= most or fold is LADDER[-1]:
            return content
    raise AssertionError("the ladder is not empty")


def _filled(pages: Pages, fold: Fold, blocks: list[tuple[str, dict[str, Any]]]) -> bytes:
    style = _theme() + _asset("page.css")
    script = _script()
    meta = _whole(pages, fold, [lengths for _, lengths in blocks])
    data = "\n".join(f'<script type="text/plain" id="s{at}">{block}</script>' for at, (block, _) in enumerate(blocks))
    parts = {
        "POLICY": f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_hash(style)}; "
        f"script-src {_hash(script)}",
        "STYLE": style,
        "META": _inert(_straight(meta)),
        "BLOCKS": data,
        "SCRIPT": script,
    }
    text = _asset("page.html")
    for name, value in parts.items():
        before, found, after = text.partition(f"<!--{name}-->")
        assert found, name
        text = before + value + after
    return text.encode()


def _script() -> str:
    """Returns `page.js`, with the files that it is parted into in the place of their names: all have one scope."""
    text = _asset("page.js")
    for name in ("anatomy.js", "pairs.js"):
        before, found, after = text.partition(f"  // <{name}>\n")
        assert found, name
        text = before + _asset(name) + after
    return text


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


def _straight(value: Any) -> Any:
    """Returns a page's data without signs that turn the words after a name round: isolating it would not hold them."""
    if isinstance(value, str):
        return in_one_direction(value)
    if isinstance(value, dict):
        return {key: _straight(one) for key, one in value.items()}
    return [_straight(one) for one in value] if isinstance(value, (list, tuple)) else value


def _whole(pages: Pages, fold: Fold, lengths: list[dict[str, Any]]) -> dict[str, Any]:
    runs, first = [], 0
    for one in pages.runs:
        of_run = lengths[first : first + len(one.page.sites)]
        runs.append({"name": one.name, "group": one.group, "number": one.number, "first": first})
        runs[-1] |= _meta(one.page, fold, of_run)
        first += len(of_run)
    return {
        "schema": SCHEMA,
        "title": pages.title,
        "notes": pages.notes,
        "palettes": look.PALETTES,
        "glossary": look.GLOSSARY,
        "lowest": look.LOWEST,
        "levels": look.LEVELS,
        "parts": {
            **{"title": words.TITLE, "legend": words.LEGEND, "names": list(words.WORDS.values())},
            **{"colours": look.COLOURS_OF_PARTS, "faint": words.FAINT},
        },
        "pairs": None if pages.pairs is None else _pairs(pages.pairs),
        "runs": runs,
    }


def _meta(page: Page, fold: Fold, lengths: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
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
            **{"label": page.scale.label, "ticks": page.scale.ticks},
            "states": {str(code): said for code, said in look.states(page.scale).items()},
        },
        "read": look.how_to_read(page.scale),
        "parts": words.caption(page),
        "windows": [[window.index, window.name, window.first, window.last] for window in page.windows],
        "lines": [{"name": line.name, "values": _numbers(line.values)} for line in page.lines],
        "sites": [_site(site, each) for site, each in zip(page.sites, lengths, strict=True)],
        "tables": _tables(page.tables),
    }


def _tables(tables: Iterable[Table]) -> list[dict[str, Any]]:
    return [{"name": each.name, "columns": each.columns, "rows": each.rows} for each in tables]


def _pairs(pairs: Pairs) -> dict[str, Any]:
    return {
        "title": title(pairs),
        "sentences": pairs.sentence.splitlines(),
        "about": about(pairs),
        "caption": caption(pairs),
        "groups": GROUPS,
        "colours": look.COLOURS_OF_GROUPS,
        "rows": [
            {"name": pair.name, "sites": pair.sites, "farther": _or_none(farther(pair, pairs.phases[0]))}
            for pair in pairs.pairs
        ],
        "panels": [_panel(pairs, panel) for panel in panels(pairs)],
        "tables": _tables(tables(pairs)),
    }


def _panel(pairs: Pairs, panel: Panel) -> dict[str, Any]:
    """Returns an axis and its marks, each by its row: where it lies, what it is of, and its words."""
    marks: list[dict[str, Any]] = []
    for row, pair in enumerate(pairs.pairs):
        if panel.kind == PATHS:
            for mark in pair.marks[panel.phase]:
                if math.isfinite(mark.value):
                    floor = mark.floor if mark.has_floor else None
                    said = mark_in_words(pair.name, mark)
                    at = {"row": row, "x": mark.value, "floor": floor, "words": said}
                    marks.append({**at, "group": mark.group, "number": mark.number})
        elif (ratio := pair.ratios.get(panel.phase)) is not None and ratio.known:
            at = {"row": row, "x": ratio.ratio, "low": ratio.low, "high": ratio.high, "noisy": ratio.noisy}
            marks.append({**at, "words": ratio_in_words(pair.name, ratio)})
    return {
        **{"kind": panel.kind, "title": panel.title, "axis": panel.axis, "low": panel.low, "high": panel.high},
        "ticks": [[tick, f"{tick:.4g}"] for tick in panel.ticks],
        "marks": marks,
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


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _numbers(values: Floats) -> list[float | None]:
    return [_or_none(float(value)) for value in values.tolist()]
