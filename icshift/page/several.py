"""What a page of several runs shows: the page of each, to choose from, and two groups of runs side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from icshift.analysis.ancestry import caveats, missing_there
from icshift.analysis.drift import default_phase
from icshift.page.build import Asked, page_of
from icshift.page.model import Page, Table
from icshift.page.pairs import Pairs, pairs_of
from icshift.replicates.alignment import GROUPS
from icshift.replicates.compare import compare
from icshift.reports.tables import number

if TYPE_CHECKING:
    from icshift.replicates.compare import RunComparison
    from icshift.runs.reader import StoredRun


@dataclass(frozen=True, eq=False)
class PageOfRun:
    """The page of a run, what it is called in the list of runs, and by `group` and `number` which run it is in pairs.

    Of runs that are not compared the group is empty.
    """

    page: Page
    name: str
    group: str = ""
    number: int = 0


@dataclass(frozen=True, eq=False)
class Pages:
    """Pages of runs, at least one, and the `pairs` of their sites where they are compared.

    `title` and `notes` are of all of them; the title is empty where there is one run.
    """

    runs: tuple[PageOfRun, ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    pairs: Pairs | None = None


def alone(page: Page) -> Pages:
    """Returns the page of one run as pages."""
    return Pages((PageOfRun(page, page.title),))


def pages_of(runs: Sequence[StoredRun], asked: Asked) -> Pages:
    """Returns the pages of runs: one; two, compared; or more, of which nobody said which belong together."""
    if len(runs) == 1:
        return alone(page_of(runs[0], asked))
    if len(runs) == 2:
        return pages_of_groups(compare(runs[:1], runs[1:], sites=asked.sites), runs, asked)
    note = "Runs are not compared here: icshift compare A1 A2 --with B1 B2 -o FILE.html sets two groups side by side."
    named = tuple(PageOfRun(_page(run, asked), str(run.path)) for run in runs)
    return Pages(named, f"{len(runs)} runs", (note,))


def pages_of_groups(compared: RunComparison, firsts: Sequence[StoredRun], asked: Asked) -> Pages:
    """Returns two groups of runs side by side, and the pages of the first run of each, which are a pair."""
    pairs = pairs_of(compared)
    named = tuple(
        PageOfRun(_page(run, asked), f"{group}: {run.path}", group, 1)
        for group, run in zip(GROUPS, firsts, strict=True)
    )
    a, b = (run.name for run in firsts)
    more = max(map(len, pairs.groups)) > 1
    note = "Of each group the first run is below whole; icshift report RUN -o FILE.html makes the page of another."
    return Pages(named, f"A: {a} · B: {b}", (*pairs.notes, *([note] if more else [])), pairs)


def _page(run: StoredRun, asked: Asked) -> Page:
    """Returns the page of one of several runs, with the doubts that are its own."""
    doubts = [*caveats(run, asked.reference, asked.phase or default_phase(run)), *missing_there(asked.reference)]
    return page_of(run, replace(asked, doubts=tuple(doubts)))


def tables(pairs: Pairs) -> tuple[Table, ...]:
    """Returns the numbers of the picture of all pairs: of every run, and of all together where there are ratios."""
    paths = tuple(
        (
            *((words, None) for words in (pair.name, phase, mark.group)),
            (str(mark.number), float(mark.number)),
            _cell(mark.value),
            _cell(mark.floor if mark.has_floor else math.nan),
        )
        for pair in pairs.pairs
        for phase in pairs.phases
        for mark in pair.marks[phase]
    )
    ratios = tuple(
        (
            *((words, None) for words in (pair.name, phase)),
            _cell(ratio.ratio),
            *(_cell(math.nan if ratio.noisy else value) for value in (ratio.low, ratio.high, ratio.p)),
        )
        for pair in pairs.pairs
        for phase, ratio in pair.ratios.items()
    )
    of_runs = Table("Path of every run", ("site", "phase", "group", "run", f"path [{pairs.unit}]", "floor"), paths)
    together = Table("A / B of every site", ("site", "phase", "A / B", "95 % from", "to", "p"), ratios)
    return (of_runs, together) if pairs.tested else (of_runs,)


def _cell(value: float) -> tuple[str, float | None]:
    return number(value), value if math.isfinite(value) else None
