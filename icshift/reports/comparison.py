"""Two groups of runs compared, for the terminal: a verdict in words, then tables that are readable at 80 columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from icshift.replicates.alignment import GROUPS
from icshift.replicates.compare import LOGGED
from icshift.replicates.inference import LEAST
from icshift.replicates.values import LAST, METRICS, PATH, WINDOW
from icshift.reports.comparison_verdict import NOISY, p_value, ratio, verdict
from icshift.reports.next_step import typed
from icshift.reports.report import Part, Report
from icshift.reports.sheet import Sheet, of_rows
from icshift.reports.tables import counted, number, records, share
from icshift.runs.phases import PROBE, TRAIN

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison

_SHOWN = (("w1_sd", PATH), ("w1_sd", LAST))
"""Metrics and spans of which the table of sites has rows; the others are shown over all sites, and in JSON."""

_WINDOWS = 6
"""Windows that the table of windows has columns for."""

_SIDE_BY_SIDE = 72
"""Screens of at least so many characters get the ratios of two phases in one table."""

_NAMES = {PATH: "path", LAST: "last window"}

_STREAM_AND_PROBE = (
    "train and probe may differ: every window of the stream has examples and sampling noise of its own and spans the "
    "steps in it, a probe shows what the parameters at its end do to one set of inputs."
)


def comparison_report(compared: RunComparison) -> Report:
    """Returns the report of two groups of runs: what can be said about the methods, or the values of each run."""
    parts = _of_methods(compared) if compared.design.enough else _of_runs(compared)
    first = Path(compared.runs["run"].iloc[0])
    return Report(
        heading="\n".join(_group(compared, group) for group in GROUPS),
        body=(*_verdict(compared), *parts, *_every_run(compared)),
        notes=tuple(_notes(compared)),
        next_step=f"Next: icshift path {typed(first)} --phase {quote(compared.phases[-1])}",
        data=_data(compared),
    )


def comparison_summary(compared: RunComparison) -> Report:
    """Returns the report in short: the verdict, what holds over all sites, and the values of every run."""
    parts = _over_all(compared, compared.phases[:2]) if compared.design.enough else ()
    return Report(body=(*_verdict(compared), *parts, *_every_run(compared)), notes=tuple(_notes(compared)))


def _verdict(compared: RunComparison) -> list[Part]:
    return [Text(verdict(compared), style="bold"), ""]


def _group(compared: RunComparison, group: str) -> str:
    runs = compared.runs[compared.runs["group"] == group]
    paths, endings = runs["run"].tolist(), [ending for ending in runs["ending"] if ending]
    rest = "" if len(paths) == 1 else f" and {len(paths) - 1} more, to {paths[-1]}"
    told = "" if not endings else f" · {endings[0] if len(paths) == 1 else f'{len(endings)} not finished or not whole'}"
    return f"{group}: {counted(len(paths), 'run')}, {paths[0]}{rest}{told}"


def _of_methods(compared: RunComparison) -> Iterator[Part]:
    for phases in _side_by_side(compared.phases):
        yield from _over_all(compared, phases)
        for metric, span in _SHOWN:
            yield Text(f"A / B of every site: {_NAMES[span]}, {metric}", style="bold")
            sites = list(_of_sites(compared, metric, span))
            yield partial(ratio_tables, "site", sites, phases)
    yield Text("A / B by window, over all sites: w1_sd, 95 % interval below", style="bold")
    yield _window_table(compared)


def _over_all(compared: RunComparison, phases: Sequence[str]) -> Iterator[Part]:
    for by in compared.alignment.ways:
        how = f" by {by}" if len(compared.alignment.ways) > 1 else ""
        yield Text(f"A / B over all sites{how}: geometric mean, 95 % interval, p", style="bold")
        whole = _at(compared.ratios, by=by, site_a="")
        rows = [(f"{span} {metric}", _at(whole, metric=metric, span=span)) for span in _NAMES for metric in METRICS]
        yield partial(ratio_tables, "", rows, phases)


def _of_sites(compared: RunComparison, metric: str, span: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields name and rows of every pair by role, and then of those by layer that are not among them."""
    roles = compared.alignment.roles
    for by in compared.alignment.ways:
        of_span = _at(compared.ratios, by=by, metric=metric, span=span)
        pairs = [pair for pair in compared.alignment.pairs(by) if by == "role" or pair not in roles]
        if by == "layer":
            yield "by layer:", of_span.iloc[:0]
        for pair in pairs:
            yield pair.name, _at(of_span, site_a=pair.a.name, site_b=pair.b.name)


def ratio_tables(head: str, rows: Sequence[tuple[str, pd.DataFrame]], phases: Sequence[str], width: int) -> Group:
    """Returns the ratios of the phases side by side, or below one another where the screen is narrow."""
    groups = [phases] if width >= _SIDE_BY_SIDE else [[phase] for phase in phases]
    return Group(*(ratio_table(head, rows, group) for group in groups))


def ratio_table(head: str, rows: Sequence[tuple[str, pd.DataFrame]], phases: Sequence[str]) -> Sheet:
    """Returns a table with one row for each name and its rows of `RunComparison.ratios`, the phases side by side."""
    noisy = [phase for phase in phases if any(_is_noisy(_at(of, phase=phase)) for _, of in rows)]
    columns = [
        (name, rank)
        for phase in phases
        for rank, name in enumerate((phase, "95 %", "p", *(["noise"] if phase in noisy else [])))
    ]
    lines = []
    for name, of in rows:
        cells: list[str | Text] = []
        for phase in phases:
            found = records(_at(of, phase=phase))
            cells += (_cells(found[0]) if found else [""] * 4)[: None if phase in noisy else 3]
        lines.append([name, *cells])
    return of_rows(head, columns, lines)


def _is_noisy(rows: pd.DataFrame) -> bool:
    """Whether values have noise, or noise that is not known."""
    return bool(((rows["noise"] > 0) | (rows["noise"].isna() & rows["ratio"].notna())).any())


def _cells(row: dict[str, Any]) -> list[str | Text]:
    if not math.isfinite(row["ratio"]):
        return ["–", "–", "–", share(row["noise"])]
    noise = Text(share(row["noise"]), style="" if row["noise"] < NOISY else "yellow")
    if not row["noise"] < NOISY:  # A ratio of noise has an interval and a p, which say nothing of the methods.
        return [ratio(row["ratio"]), "–", "–", noise]
    apart = row["low"] > 1 or row["high"] < 1
    value = Text(ratio(row["ratio"]), style="bold" if apart else "")
    return [value, f"{ratio(row['low'])} to {ratio(row['high'])}", p_value(row["p_adjusted"]), noise]


def _window_table(compared: RunComparison) -> Sheet:
    """Returns a table with a row a phase and a column for some of the windows, evenly spaced, the last among them."""
    whole = _at(compared.ratios, by=compared.alignment.ways[0], metric="w1_sd", span=WINDOW, site_a="")
    windows = sorted(whole["window"].unique())
    count = min(_WINDOWS, len(windows))
    shown = [windows[round(place * (len(windows) - 1) / max(count - 1, 1))] for place in range(count)]
    lines: list[list[str | Text]] = []
    for phase in compared.phases:
        rows = {row["window"]: row for row in records(_at(whole, phase=phase))}
        lines.append([phase, *(_two_lines(rows[window]) if window in rows else "–" for window in shown)])
    return of_rows("window", [(str(window), count - place) for place, window in enumerate(shown, start=1)], lines)


def _two_lines(row: dict[str, Any]) -> str:
    if not math.isfinite(row["ratio"]):
        return "–"
    return f"{ratio(row['ratio'])}{'~' * (not row['noise'] < NOISY)}\n{ratio(row['low'])}–{ratio(row['high'])}"


def _of_runs(compared: RunComparison) -> Iterator[Part]:
    """Yields a table a phase with the values of every run by site, each with its error of measurement."""
    for phase in compared.phases:
        here = _at(compared.values, phase=phase, metric="w1_sd")
        noiseless = bool((here["floor"] == 0).all())
        yield Text(f"{phase}: w1_sd of every run{'' if noiseless else ', with its floor'}", style="bold")
        yield _value_table(compared, here, noiseless=noiseless)


def _value_table(compared: RunComparison, values: pd.DataFrame, *, noiseless: bool) -> Sheet:
    shown = ["value"] if noiseless else ["value", "floor"]
    runs = range(1, max(compared.design.a, compared.design.b) + 1)
    columns = [("run", 0)]
    for group, (place, span) in product(GROUPS, enumerate(_NAMES)):
        columns += [(f"{group} {span}", place), ("floor", 2 + place)][: len(shown)]
    lines: list[list[str | Text]] = []
    pairs = dict.fromkeys((*compared.alignment.roles, *compared.alignment.layers))
    for pair, run in product(pairs, runs):
        cells: list[str | Text] = []
        for (group, site), span in product(zip(GROUPS, (pair.a, pair.b), strict=True), _NAMES):
            rows = records(_at(values, group=group, number=run, site=site.name, span=span))
            cells += [number(rows[0][name]) for name in shown] if rows else [""] * len(shown)
        lines.append([pair.name if run == 1 else "", str(run), *cells])
    return of_rows("site", columns, lines)


def _every_run(compared: RunComparison) -> list[Part]:
    """Returns a table with a row a run of each group: its path over all sites, and what it logged last."""
    paths = _at(compared.overall, by=compared.alignment.ways[0], metric="w1_sd", span=PATH)
    logged = [name for name in compared.runs.columns if name.startswith(LOGGED)]
    names = [*compared.phases, *logged]
    columns = [(f"{group} {name.removeprefix(LOGGED)}", place) for place, name in enumerate(names) for group in GROUPS]
    lines: list[list[str | Text]] = []
    for run in range(1, max(compared.design.a, compared.design.b) + 1):
        measured = [_at(paths, number=run, phase=phase).set_index("group")["value"] for phase in compared.phases]
        last = _at(compared.runs, number=run).set_index("group")
        measured += [last[name] for name in logged]
        lines.append(
            [str(run), *(number(found[group]) if group in found else "" for found in measured for group in GROUPS)]
        )
    title = "Every run: path over all sites, w1_sd" + (
        ", and means of what it logged in its last window" if logged else ""
    )
    return [Text(title, style="bold"), of_rows("run", columns, lines)]


def _notes(compared: RunComparison) -> Iterator[str]:
    design, alignment = compared.design, compared.alignment
    for row in records(compared.runs[compared.runs["ending"] != ""]):
        yield f"{row['run']}: {row['ending']}."
        yield from (f"{row['run']}: {sentence}" for sentence in row["missing"])
    yield (
        "path: the sum over all windows, last: the last window against the one before. Of a site the median over "
        "units. w1_sd: in sd; of a path one yardstick a unit, its sd over all windows. w1: in units of activations."
    )
    if design.enough:
        yield _test_in_words(compared)
    else:
        yield (
            f"From {LEAST} runs of each on there are intervals and a test. The replicate is the training run: units of "
            "one network say nothing about another seed."
        )
    if compared.values["floor"].ne(0).any():
        yield "floor: the same by sampling noise alone, the error of measurement of a value; a probe has none."
    if design.enough and compared.values["floor"].ne(0).any():
        yield (
            f"noise: floor / value, in the group where it is larger. From {share(NOISY)} on (~) a ratio is of noise as "
            "much as of drift: no statement."
        )
    if {TRAIN, PROBE} <= set(compared.phases):
        yield _STREAM_AND_PROBE
    if len(alignment.ways) > 1:
        yield (
            "By role, what the next layer gets is compared: the norm's output where there is one, else the layer's. By "
            "layer, a layer's output with that of the same layer."
        )
    if any(pair.a.batch_statistics != pair.b.batch_statistics for pair in alignment.roles):
        yield (
            "Batch norm takes change of mean and sd out of its output but for its own weight and bias: of a ratio with "
            "one of these, that part is by construction."
        )
    for group, alone in zip(GROUPS, (alignment.alone_a, alignment.alone_b), strict=True):
        if alone:
            yield f"Without a partner by layer, in {group}: {', '.join(site.name for site in alone)}."
    if compared.runs["steps"].nunique() > 1:
        yield "Runs have different numbers of steps: drift from window to window grows with these."


def _test_in_words(compared: RunComparison) -> str:
    design = compared.design
    which = "all" if design.exact else f"{design.patterns:,} drawn at random of all"
    if design.paired:
        test = (
            f"{design.a} pairs by position (same seed). p: sign-flip test of the log ratios, two-sided, {which} "
            f"2^{design.a} patterns"
        )
    else:
        test = (
            f"{design.a} and {design.b} runs, not paired. p: permutation test of the logs, two-sided, {which} ways to "
            "deal them out"
        )
    return (
        f"{test}; adjusted for the rows of its table and phase, over all sites for both phases (Westfall & Young). "
        f"Intervals: {'Student' if design.paired else 'Welch'}'s t of logs, one by one."
    )


def _data(compared: RunComparison) -> dict[str, Any]:
    design, alignment = compared.design, compared.alignment
    return {
        "verdict": verdict(compared),
        "phases": list(compared.phases),
        "test": {
            "a": design.a,
            "b": design.b,
            "paired": design.paired,
            "enough": design.enough,
            "patterns": design.patterns,
            "exact": design.exact,
        },
        "alone": {"A": [site.name for site in alignment.alone_a], "B": [site.name for site in alignment.alone_b]},
        "runs": records(compared.runs),
        "ratios": records(compared.ratios),
        "overall": records(compared.overall),
        "values": records(compared.values),
    }


def _at(frame: pd.DataFrame, **where: object) -> pd.DataFrame:
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _side_by_side(phases: Sequence[str]) -> list[Sequence[str]]:
    return [phases[start : start + 2] for start in range(0, len(phases), 2)]
