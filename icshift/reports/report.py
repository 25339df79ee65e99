"""`Report`: the content of what a command shows, independent of where it is shown (on a screen, as JSON, on a page)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

Part: TypeAlias = "str | RenderableType | Callable[[int], RenderableType] | Report"
"""A part of the body of a report.

A `str` is one line, which is never wrapped, so that paths and commands can be copied; an empty one is an empty line. A
`rich.text.Text` is wrapped between words, unless it is made with `no_wrap=True`. A function is called with the width of
the screen in columns and returns what is to be drawn. A report within another is shown in full, at its place.
"""


@dataclass(frozen=True)
class Report:
    """What a command has to say, in the order in which a screen shows it.

    `heading` says what this is about, in one line or more. `body` holds the tables and lines, from top to bottom.
    `notes` are what a reader must know to understand the body, `warnings` what is missing or doubtful. `verdict` is the
    outcome in words, of a command that judges. `next_step` is what could be typed next (a report within another has
    none), `data` the same report as numbers and words for `--json`.

    >>> report = Report("a run", body=("3 sites",), notes=("drift: w1_sd.",), data={"sites": 3})
    >>> report.data
    {'sites': 3}
    """

    heading: str = ""
    body: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    verdict: str | Text = ""
    next_step: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def together(first: Report, *others: Report) -> Report:
    """Returns several reports as one, with an empty line before each of the others.

    The next step is that of the first; each adds its data to that of the ones before it.
    """
    if not others:
        return first
    data = dict(first.data)
    for other in others:
        data.update(other.data)
    body = [first, *(part for other in others for part in ("", other))]
    return Report(body=tuple(body), next_step=first.next_step, data=data)
