"""The report of a run as a file: the suffix names the format. Nothing here opens a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from icshift.analysis.by_site import summary
from icshift.analysis.drift import default_phase
from icshift.analysis.outcome import outcome
from icshift.analysis.windows import ALL, by_window
from icshift.errors import SelectionError
from icshift.figures.figure import ATLAS, COMPARE, Source, Wanted, drawn
from icshift.figures.figure import check as check_figure
from icshift.figures.frame import FORMATS as PICTURES
from icshift.page.build import Asked, outline_of
from icshift.page.several import pages_of, pages_of_groups
from icshift.page.write import html
from icshift.reports.drift import drift_report, site_label
from icshift.reports.harmless import harmless
from icshift.reports.report import Report
from icshift.reports.tables import moved, number, records, searched, times
from icshift.reports.tabular import as_csv, to_json
from icshift.reports.windows import windows_report

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison
    from icshift.runs.reader import StoredRun


def page_of_groups(compared: RunComparison, firsts: Sequence[StoredRun], asked: Asked) -> bytes:
    """Returns a page for a browser of two groups of runs side by side, and of the first run of each."""
    return html(pages_of_groups(compared, firsts, asked))


def as_json(run: StoredRun, asked: Asked) -> bytes:
    """Returns what `--json` prints of the drift of the sites."""
    if asked.window == ALL:
        phase = asked.phase or default_phase(run)
        drifts = _by_window(run, asked)
        report = windows_report(run, drifts, asked.metric, phase, top=max(len(drifts), 1), caveats=asked.doubts)
        return to_json(dict(report.data)).encode()
    return to_json(dict(_report(run, asked)[1].data)).encode()


def as_csv_of_sites(run: StoredRun, asked: Asked) -> bytes:
    """Returns the table of `analysis.by_site.summary`, a row a site, without its lists; of all windows `by_window`."""
    if asked.window == ALL:
        return as_csv(_by_window(run, asked))
    table = _report(run, asked)[0]
    return as_csv(table.drop(columns=[name for name in ("trend",) if name in table]))


def as_markdown(run: StoredRun, asked: Asked) -> bytes:
    """Returns the report as Markdown, for a pull request or a notebook."""
    if asked.window == ALL:
        raise SelectionError("Markdown holds one window: --window NAME, last or worst; .csv, .json and .html hold all")
    table, report = _report(run, asked)
    words = str(report.data["verdict"])
    lines = [f"**{_plain(report.heading)}**", "", *([_plain(words), ""] if words else [])]
    lines += ["| site | units | drift | floor | ×floor | p90 | max | moved |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for row in records(table):
        values = [number(row.get("drift", float("nan"))), number(row.get("floor", float("nan")))]
        values += [times(row.get("ratio", float("nan")))]
        values += [number(row.get(name, float("nan"))) for name in ("p90", "max")]
        lines.append(" | ".join(["| " + _plain(site_label(row)), str(row["units"]), *values, moved(row) + " |"]))
    lines += [
        "",
        *(f"- {_plain(note)}" for note in (*report.notes, *report.warnings)),
        "",
        f"`{harmless(asked.command)}`",
        "",
    ]
    return "\n".join(lines).encode()


PAGE = ".html"

OF_ONE_RUN: dict[str, Callable[[StoredRun, Asked], bytes]] = {
    ".md": as_markdown,
    ".csv": as_csv_of_sites,
    ".json": as_json,
}


def check(suffix: str, runs: int, wanted: Wanted | None) -> None:
    """Raises `SelectionError` for a suffix, a figure or a number of runs of which no file is written.

    `wanted` is the figure that was asked for, None where none was. It is to be called before any work is done.
    """
    if suffix.lower() in PICTURES:
        check_figure(wanted or _usual(runs), runs)
        return
    if suffix.lower() not in (PAGE, *OF_ONE_RUN):
        what = suffix or "a file without a suffix"
        raise SelectionError(f"no report is written as {what}: take {_listed([PAGE, *OF_ONE_RUN, *PICTURES])}")
    if wanted is not None:
        raise SelectionError(f"--figure, --unit and --theme are for {_listed(PICTURES)}; {suffix} is no figure")
    if runs > 1 and suffix.lower() != PAGE:
        raise SelectionError(
            f"{suffix} is of one run, {runs} are given: .html is of several, as is icshift compare A B"
        )


def content(runs: Sequence[StoredRun], asked: Asked, wanted: Wanted | None, suffix: str) -> bytes:
    """Returns the file that the suffix stands for."""
    if suffix.lower() in PICTURES:
        source = Source(runs, lambda run: outline_of(run, asked), wanted or _usual(len(runs)))
        return drawn(source, suffix)
    if suffix.lower() == PAGE:
        return html(pages_of(runs, asked))
    return OF_ONE_RUN[suffix.lower()](runs[0], asked)


def _usual(runs: int) -> Wanted:
    return Wanted(ATLAS if runs == 1 else COMPARE)


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}"


def document_report(path: Path) -> Report:
    """Returns the report on a written file."""
    what = "open it in a browser" if path.suffix.lower() == PAGE else "written"
    return Report(body=(Text(f"{path}: {what}", style="dim", no_wrap=True),))


def _report(run: StoredRun, asked: Asked) -> tuple[pd.DataFrame, Report]:
    """Returns the table and the report of the window that is looked at."""
    seen = asked.seen(run)
    how: dict[str, Any] = {"reference": asked.reference, "phase": asked.phase, "level": seen.level}
    table = summary(seen.run, metric_name=asked.metric.name, sites=asked.sites, **how)
    doubts = [*asked.doubts, *searched(seen.searched)]
    said = outcome(seen.run, **how)
    return table, drift_report(seen.run, table, asked.metric, said, reference=asked.reference, caveats=doubts)


def _by_window(run: StoredRun, asked: Asked) -> pd.DataFrame:
    how: dict[str, Any] = {"reference": asked.reference, "phase": asked.phase, "sites": asked.sites}
    return by_window(run, metric_name=asked.metric.name, **how)


def _plain(text: str) -> str:
    """Returns text in which Markdown and HTML see no marks: names come from somebody's model."""
    text = harmless(" ".join(text.split()))
    for sign in "\\`*_{}[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return text
