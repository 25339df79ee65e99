"""Two runs side by side, as `icshift demo` shows them: readable at 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from icshift.reports.drift import site_label
from icshift.reports.report import Part, Report
from icshift.reports.run import overhead
from icshift.reports.tables import TREND, columns, facts, number, records, share
from icshift.reports.text_charts import sparkline
from icshift.reports.units import ribbon

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun

_PHASES = {
    "train": "stream: training batches as they came; floor is the drift of sampling noise alone",
    "probe": "probe: the same 512 images in every window, batch norm by their statistics: no sampling noise",
}


@dataclass(frozen=True, eq=False)
class Trained:
    """A network of the demo: its `run`, its `accuracy` on the test digits (0 to 1), and what was measured in it.

    `summaries` are tables of `analysis.by_site.summary`, by phase. `typical` is the series of steps of a typical unit
    of the site that feeds the last hidden sigmoid, `wandering` what `analysis.units.wandering` returns for that site.
    """

    run: StoredRun
    accuracy: float
    summaries: Mapping[str, pd.DataFrame]
    typical: pd.DataFrame
    wandering: tuple[float, float, float]


def comparison_report(networks: Sequence[Trained]) -> Report:
    """Returns the comparison: tables of drift by site, percentiles of one unit of each network, and facts in words."""
    before, last = (window.name for window in networks[0].run.window_list[-2:])
    names = [network.run.name for network in networks]
    body: list[Part] = []
    for phase, meaning in _PHASES.items():
        body += [
            Text(f"Drift, {last} against {before}: w1_sd in sd, median over units", style="bold"),
            Text(meaning, style="dim"),
            comparison_table(names, [network.summaries[phase] for network in networks]),
        ]
    body += [
        Text(
            "† Mean and sd are set by the layer's own weight and bias there: only a change of shape is news.",
            style="dim",
        ),
        "",
        Text(
            "A typical input of the last hidden sigmoids: 15th, 50th, 85th percentile of every step's batch",
            style="bold",
        ),
        lambda width: Columns([_ribbon(network, (width - 4) // 2) for network in networks], padding=(0, 2)),
        "",
        facts([fact for network in networks for fact in _facts(network)]),
    ]
    return Report(
        body=tuple(body),
        notes=("One data set and one seed: this is what was measured here, not whether it is why batch norm works.",),
    )


def demo_report(networks: Sequence[Trained], table: Path, saved: Path, inputs: tuple[Path, Path]) -> Report:
    """Returns the comparison, followed by the paths of everything that the demo made.

    `table` is the CSV file of drifts, `saved` the directory of saved models; `inputs` are the files of inputs without
    and with targets.
    """
    runs = [network.run.path for network in networks]
    return Report(
        body=(
            comparison_report(networks),
            "",
            f"Runs {runs[0]} and {runs[1]}, drift of every unit in {table}",
            f"Saved models in {saved}, inputs for these in {inputs[0]}, with targets in {inputs[1]}",
        ),
        next_step=f"Next: icshift report {runs[0]}",
    )


def comparison_table(names: Sequence[str], summaries: Sequence[pd.DataFrame]) -> Table:
    """Returns a table with one row per site and a group of columns per run; cells of sites that a run lacks are blank.

    Probes have no sampling noise: their columns show the 90th percentile in place of the floor and the share moved.
    """
    by_site = [{row["site"]: row for row in records(summary)} for summary in summaries]
    noiseless = all(row["noiseless"] for rows in by_site for row in rows.values())
    table = columns()
    table.add_column("site", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
        for column in ("p90",) if noiseless else ("floor", "moved"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("trend", no_wrap=True)
    longest = max(by_site, key=len)
    for site in [*longest, *(site for rows in by_site for site in rows if site not in longest)]:
        cells = []
        for rows in by_site:
            row = rows.get(site)
            if row is None:
                cells += [""] * (3 if noiseless else 4)
                continue
            middle = [number(row["p90"])] if noiseless else [number(row["floor"]), share(row["moved"])]
            cells += [number(row["median"]), *middle, sparkline(row["trend"], TREND)]
        table.add_row(next(site_label(rows[site]) for rows in by_site if site in rows), *cells)
    return table


def _ribbon(network: Trained, width: int) -> Group:
    series = network.typical
    unit, n = series["unit"].iloc[0], series["count"].max()
    title = f"{network.run.name} · {series['site'].iloc[0]} unit {unit}, n ≤ {n} a step"
    return Group(title, ribbon(series, width=width - 9, height=11))


def _facts(network: Trained) -> list[tuple[str, str]]:
    site, (wandered, first, last) = network.typical["site"].iloc[0], network.wandering
    return [
        (network.run.name, f"test accuracy {network.accuracy:.3f} on 397 digits"),
        ("", f"{site}: a unit's median wandered over {wandered:.2f}, its sd went {first:.2f} to {last:.2f}"),
        ("", overhead(network.run)),
    ]
