"""The report of a run as a file: the suffix names the format. Nothing here opens a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from icshift.analysis.by_site import summary
from icshift.analysis.outcome import outcome
from icshift.errors import SelectionError
from icshift.page.build import Asked, page_of
from icshift.page.write import html
from icshift.reports.drift import drift_report, site_label
from icshift.reports.outcome import verdict
from icshift.reports.report import Report
from icshift.reports.tables import number, records, share, times
from icshift.reports.tabular import as_csv, to_json

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun


def as_page(run: StoredRun, asked: Asked) -> bytes:
    """Returns a page for a browser."""
    return html(page_of(run, asked))


def as_json(run: StoredRun, asked: Asked) -> bytes:
    """Returns what `--json` prints of the drift of the sites."""
    return to_json(dict(_report(run, asked)[1].data)).encode()


def as_csv_of_sites(run: StoredRun, asked: Asked) -> bytes:
    """Returns the table of `analysis.by_site.summary`, a row a site, without its lists."""
    table = _report(run, asked)[0]
    return as_csv(table.drop(columns=[name for name in ("trend",) if name in table]))


def as_markdown(run: StoredRun, asked: Asked) -> bytes:
    """Returns the report as Markdown, for a pull request or a notebook."""
    table, report = _report(run, asked)
    said = outcome(run, reference=asked.reference, phase=asked.phase)
    words = verdict(said, table, asked.metric) if said is not None and "median" in table else []
    lines = [f"**{_plain(report.heading)}**", "", *([_plain(" ".join(words)), ""] if words else [])]
    lines += ["| site | units | drift | floor | ×floor | p90 | max | moved |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for row in records(table):
        values = [number(row.get("median", float("nan"))), number(row.get("floor", float("nan")))]
        values += [times(row.get("ratio", float("nan")))]
        values += [number(row.get(name, float("nan"))) for name in ("p90", "max")]
        lines.append(" | ".join(["| " + _plain(site_label(row)), str(row["units"]), *values, _share(row) + " |"]))
    lines += ["", *(f"- {_plain(note)}" for note in (*report.notes, *report.warnings)), "", f"`{asked.command}`", ""]
    return "\n".join(lines).encode()


FORMATS: dict[str, Callable[[StoredRun, Asked], bytes]] = {
    ".html": as_page,
    ".md": as_markdown,
    ".csv": as_csv_of_sites,
    ".json": as_json,
}


def by_suffix(suffix: str) -> Callable[[StoredRun, Asked], bytes]:
    """Returns the function that writes a report for a suffix. Raises `SelectionError` for an unknown one."""
    if suffix.lower() not in FORMATS:
        raise SelectionError(f"no report is written as {suffix or 'a file without a suffix'}: take {_known()}")
    return FORMATS[suffix.lower()]


def _known() -> str:
    *first, last = FORMATS
    return f"{', '.join(first)} or {last}"


def document_report(path: Path) -> Report:
    """Returns the report on a written file."""
    what = "open it in a browser" if path.suffix.lower() == ".html" else "written"
    return Report(body=(Text(f"{path}: {what}", style="dim", no_wrap=True),))


def _report(run: StoredRun, asked: Asked) -> tuple[pd.DataFrame, Report]:
    reference, phase = asked.reference, asked.phase
    table = summary(run, metric_name=asked.metric.name, reference=reference, phase=phase, sites=asked.sites)
    said = outcome(run, reference=reference, phase=phase)
    return table, drift_report(run, table, asked.metric, said, reference=reference, caveats=asked.doubts)


def _share(row: dict[str, object]) -> str:
    moved = row.get("moved", float("nan"))
    return share(float(moved)) if isinstance(moved, (int, float)) else "–"


def _plain(text: str) -> str:
    """Returns text in which Markdown and HTML see no marks: names come from somebody's model."""
    for sign in "\\`*_{}[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
