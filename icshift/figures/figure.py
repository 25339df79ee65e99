"""Which figures there are, and what each is drawn from: the table of `--figure`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from icshift.errors import SelectionError, unknown
from icshift.figures import anatomy, atlas, compare, fan, onset, panels, units
from icshift.figures.frame import Chart, require, written
from icshift.page.look import THEMES
from icshift.page.model import Page
from icshift.page.pairs import pairs_of
from icshift.replicates.compare import compare as compare_runs

if TYPE_CHECKING:
    from icshift.replicates.compare import RunComparison
    from icshift.runs.reader import StoredRun

ATLAS, ONSET, FAN, UNITS, ANATOMY, COMPARE = "atlas", "onset", "fan", "units", "anatomy", "compare"


@dataclass(frozen=True)
class Wanted:
    """A figure by its name, with globs of sites, a unit (or `panels.ALL`) and a theme of `look.THEMES`."""

    figure: str = ATLAS
    sites: Sequence[str] | None = None
    unit: str | None = None
    theme: str = "light"


@dataclass(frozen=True)
class Source:
    """What a figure is drawn from: runs, the page of each, which `page_of` gives, and what was asked for."""

    runs: Sequence[StoredRun]
    page_of: Callable[[StoredRun], Page]
    wanted: Wanted

    @property
    def page(self) -> Page:
        """The page of the first run."""
        return self.page_of(self.runs[0])


def check(wanted: Wanted, runs: int) -> None:
    """Raises `SelectionError` for a figure that is not known, or that takes no unit or another number of runs.

    Raises `IcshiftError` where what draws figures is not installed. It is to be called before any work is done.
    """
    if wanted.figure not in FIGURES:
        raise unknown("figure", wanted.figure, FIGURES)
    if wanted.theme not in THEMES:
        raise unknown("theme", wanted.theme, THEMES)
    if wanted.unit is not None and wanted.figure not in (FAN, UNITS):
        raise SelectionError(f"--unit is for the figures {FAN} and {UNITS}; {wanted.figure} is of sites")
    if wanted.figure == COMPARE and runs != 2:
        given = "one run is given" if runs == 1 else f"{runs} runs are given"
        raise SelectionError(
            f"figure {COMPARE} is of two runs, {given}: icshift compare A1 A2 --with B1 B2 -o FILE compares groups"
        )
    if wanted.figure not in (COMPARE, FAN) and runs > 1:
        raise SelectionError(
            f"figure {wanted.figure} is of one run, {runs} are given; {FAN} and {COMPARE} take several"
        )
    require()


def drawn(source: Source, suffix: str) -> bytes:
    """Returns a figure as a file in the format of the suffix."""
    theme = source.wanted.theme
    return written(FIGURES[source.wanted.figure](source, THEMES[theme]), suffix, theme)


def drawn_comparison(compared: RunComparison, suffix: str, theme: str = "light") -> bytes:
    """Returns the figure of two groups of runs as a file."""
    require()
    return written(compare.compare(pairs_of(compared), THEMES[theme]), suffix, theme)


def _fan(source: Source, theme: dict[str, str]) -> Chart:
    wanted, read = source.wanted, [(run, source.page_of(run)) for run in source.runs]
    about = panels.about(read[0][1], wanted.unit, len(read), named=bool(wanted.sites))
    return fan.fan(panels.panels_of(read, wanted.sites, wanted.unit), about, theme)


def _units(source: Source, theme: dict[str, str]) -> Chart:
    return units.units(source.runs[0], source.page, source.wanted.unit, theme)


def _compare(source: Source, theme: dict[str, str]) -> Chart:
    runs = source.runs
    return compare.compare(pairs_of(compare_runs(runs[:1], runs[1:], sites=source.wanted.sites)), theme)


FIGURES: dict[str, Callable[[Source, dict[str, str]], Chart]] = {
    ATLAS: lambda source, theme: atlas.atlas(source.page, theme),
    ONSET: lambda source, theme: onset.onset(source.page, theme),
    FAN: _fan,
    UNITS: _units,
    ANATOMY: lambda source, theme: anatomy.anatomy(source.page, theme),
    COMPARE: _compare,
}
