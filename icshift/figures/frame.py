"""What all figures have in common: the colours of a theme, titles and captions, axes of names, and the file."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from icshift.errors import IcshiftError, SelectionError
from icshift.page.look import THEMES
from icshift.page.model import Page
from icshift.reports.harmless import harmless

Chart: TypeAlias = Any
"""A chart of Altair, which is imported where it is needed: it is an extra."""

WIDTH = 760
"""Pixels of a figure without the names beside it."""

_LETTER = 5.7
"""Pixels of a letter at the size of a subtitle, on average."""

_NOTHING = "\N{ZERO WIDTH SPACE}"

_OF_JAVASCRIPT = {
    *(
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    ),
    *("__proto__", "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__"),
}
"""What every object of JavaScript has."""

NAMES = 38
"""Letters of a name on an axis at most; of longer ones the middle is left out."""


def require() -> None:
    """Raises `IcshiftError` where what draws figures is not installed."""
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise IcshiftError(f'figures need {error.name}: pip install "icshift[charts]"') from error


def data(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Returns rows as data of a chart, as text: Altair copies and checks what is none, row by row and again and again.

    They hold no NaN, which is no JSON.
    """
    import altair as alt

    return alt.Data(values=json.dumps(_plain([dict(row) for row in rows]), allow_nan=False), format={"type": "json"})


def elided(name: str, most: int = NAMES) -> str:
    """Returns a name of at most so many letters, its middle left out.

    >>> elided("encoder.layers.11.self_attention.out_proj", 20)
    'encoder...n.out_proj'
    """
    if len(name) <= most:
        return name
    tail = (most - 3) * 3 // 5
    return f"{name[: most - 3 - tail]}...{name[-tail:]}"


def named(names: Sequence[str], *, first: float = 0.5) -> dict[str, Any]:
    """Returns the options of an axis with names at `first`, `first` + 1 and so on; they are data, not expressions."""
    texts = json.dumps([_drawable(elided(name)) for name in names])
    return {
        "values": [at + first for at in range(len(names))],
        "labelExpr": f"{texts}[round(datum.value - {first})]",
        "labelOverlap": "parity",
        "labelSeparation": 6,
        "grid": False,
        "ticks": False,
        "labelPadding": 6,
        "domain": False,
    }


def plain_numbers() -> dict[str, Any]:
    """Returns the options of an axis of numbers: `10`, not `1e+1`, and nothing where Vega leaves a label out."""
    return {"labelExpr": "datum.label === '' ? '' : replace(format(datum.value, '.4~g'), 'e+', 'e')"}


def in_reference(page: Page) -> str:
    """Returns in words what every window of a page is compared with."""
    kind, _, rest = page.reference.partition(":")
    words = {
        "previous": "the window before",
        "first": "the first window",
        "phase": f"phase {rest} in the same window",
        "run": f"the same window of {rest}",
        "paired-run": f"the same window of {rest}",
    }
    return words.get(kind, f"window {page.reference}")


def samples(page: Page) -> str:
    """Returns in words how many activations a unit of a window has: of all sites, from the least to the most."""
    known = sorted({site.n for site in page.sites})
    if not known:
        return "n = 0"
    between = f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"
    return f"n = {between} sampled activations a unit and window"


def facts(page: Page, over: str = "median over units") -> str:
    """Returns what a reader must know of the drifts of a page: run, phase, reference, metric, n and floor."""
    unit = f" [{page.unit}]" if page.unit not in ("share", "0 to 1") else ""
    floor = "floor: what sampling noise alone shows" if page.scale.of_floor else "no floor is known"
    drift = f"drift: {page.metric}{unit}, {over}, against {in_reference(page)}"
    return f"{page.title} · phase {page.phase} · {drift} · {floor} · {samples(page)}"


def whole(
    parts: Sequence[Chart], title: str, lines: Sequence[str], caption: Sequence[str] = (), width: float = WIDTH
) -> Chart:
    """Returns charts below each other, so many pixels wide, with a title, lines under it, and a caption at the foot."""
    import altair as alt

    letters = int(max(width, 380) / _LETTER)
    last = parts[-1]
    if caption:
        foot = alt.TitleParams(
            text=[line for words in caption for line in textwrap.wrap(words, letters)],
            orient="bottom",
            anchor="start",
            frame="group",
            fontSize=11,
            fontWeight="normal",
            style="caption",
            offset=12,
        )
        last = last.properties(title=foot)
    head = alt.TitleParams(
        text=title,
        subtitle=[line for words in lines for line in textwrap.wrap(words, letters)],
        anchor="start",
        frame="bounds",
        offset=14,
    )
    return (
        alt.vconcat(*parts[:-1], last, spacing=10)
        .properties(title=head)
        .resolve_scale(color="independent", shape="independent")
    )


def _looks(theme: Mapping[str, str]) -> dict[str, Any]:
    quiet, ink, line = theme["quiet"], theme["ink"], theme["line"]
    return {
        "background": theme["ground"],
        "padding": 14,
        "font": "sans-serif",
        "view": {"stroke": None},
        "axis": {
            **{"labelColor": ink, "titleColor": quiet, "tickColor": line, "domainColor": line, "gridColor": line},
            **{"labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelLimit": 260},
        },
        "legend": {
            **{"labelColor": ink, "titleColor": quiet, "titleFontWeight": "normal", "titleFontSize": 11},
            **{"labelFontSize": 11, "titleLimit": 400, "gradientOpacity": 1, "symbolOpacity": 1},
        },
        "title": {
            **{"color": ink, "subtitleColor": quiet, "fontSize": 15, "fontWeight": 600, "subtitleFontSize": 11},
            **{"subtitleLineHeight": 15, "subtitlePadding": 5},
        },
        "style": {"caption": {"fill": quiet, "lineHeight": 15}},
        "header": {"labelColor": ink, "titleColor": quiet},
    }


def _converted(kind: str, **options: Any) -> Callable[[dict[str, Any]], bytes]:
    def convert(described: dict[str, Any]) -> bytes:
        import vl_convert

        content = getattr(vl_convert, f"vegalite_to_{kind}")(described, **options)
        return content.encode() if isinstance(content, str) else content

    return convert


FORMATS: dict[str, Callable[[dict[str, Any]], bytes]] = {
    ".svg": _converted("svg"),
    ".png": _converted("png", scale=2),
    ".pdf": _converted("pdf"),
}


def _plain(described: Any) -> Any:
    """Returns a description without signs that XML has not, and without names that JavaScript has of its own.

    Vega looks names up in objects, in which `constructor` is always there.
    """
    if isinstance(described, dict):
        return {key: _plain(value) for key, value in described.items()}
    if isinstance(described, list):
        return [_plain(value) for value in described]
    if not isinstance(described, str):
        return described
    return _drawable(described)


def _drawable(name: str) -> str:
    return name + _NOTHING if name in _OF_JAVASCRIPT else harmless(name)


def written(chart: Chart, suffix: str, theme: str) -> bytes:
    """Returns a chart as a file in the format of the suffix, in a theme of `look.THEMES`. It asks for no network."""
    if theme not in THEMES:
        raise SelectionError(f"no theme {theme!r}: take {' or '.join(THEMES)}")
    described = _plain(chart.to_dict())
    described["config"] = _looks(THEMES[theme])
    return FORMATS[suffix.lower()](described)
