"""What `icshift demo` shows: a unit of each of two networks, and what their trainings over several seeds say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Group
from rich.text import Text

from icshift.reports.comparison import comparison_summary
from icshift.reports.comparison_verdict import held
from icshift.reports.report import Report
from icshift.reports.run import overhead
from icshift.reports.tables import Facts, counted
from icshift.reports.units import ribbon

if TYPE_CHECKING:
    import pandas as pd

    from icshift.replicates.compare import RunComparison
    from icshift.runs.reader import StoredRun


@dataclass(frozen=True, eq=False)
class Trained:
    """A network of the demo: its run of the first seed, and its `accuracies` on the test digits (0 to 1), one a seed.

    `typical` is the series of steps of a typical unit of the site that feeds the last hidden sigmoid, `wandering` what
    `analysis.units.wandering` returns for that site.
    """

    run: StoredRun
    accuracies: Sequence[float]
    typical: pd.DataFrame
    wandering: tuple[float, float, float]


@dataclass(frozen=True)
class Made:
    """The files that the demo made: the CSV file of drifts, the directory of saved models, files of inputs without and
    with targets, and the page.
    """

    table: Path
    saved: Path
    inputs: Path
    targets: Path
    page: Path


def headline(networks: Sequence[Trained], compared: RunComparison) -> str:
    """Returns in a sentence or two what the demo shows: of all seeds where they say anything, else of the first one."""
    plain, normed = networks
    seeds = counted(len(plain.accuracies), "seed")
    words = {"train": "in the stream of training batches", "probe": "on the same inputs in every window"}
    known = [f"{times} times as far {words.get(phase, phase)}" for phase, times in held(compared).items()]
    if known:
        return (
            f"Without batch norm the inputs of the next layers went {' and '.join(known)} as with it, over {seeds}. "
            "Whether that is why batch norm trains better is another question."
        )
    wandered = " and ".join(
        f"{each.wandering[0]:.2f} {name}" for each, name in ((plain, "without"), (normed, "with it"))
    )
    return (
        f"In one training the median of a typical input of the last hidden sigmoids wandered {wandered}, in units of "
        f"activations: {seeds} of each network {'say' if len(plain.accuracies) > 1 else 'says'} nothing of the method."
    )


def networks_report(networks: Sequence[Trained], compared: RunComparison) -> Report:
    """Returns a headline, percentiles of one unit of each network, facts in words, and the comparison of all seeds."""
    names = [network.run.name for network in networks]
    return Report(
        body=(
            Text(headline(networks, compared), style="bold"),
            "",
            Text(
                "A typical input of the last hidden sigmoids: 15th, 50th, 85th percentile of every step's batch",
                style="bold",
            ),
            lambda width: Columns([_ribbon(network, (width - 4) // 2) for network in networks], padding=(0, 2)),
            "",
            Facts([fact for network in networks for fact in _facts(network)]),
            "",
            f"A is {names[0]}, B is {names[1]}, {counted(len(networks[0].accuracies), 'seed')}, the same of both.",
            comparison_summary(compared),
        ),
        notes=(
            "One data set, one rate, one width: it says how far these two networks drift, and not whether that is why "
            "batch norm trains better.",
        ),
    )


def demo_report(networks: Sequence[Trained], compared: RunComparison, made: Made) -> Report:
    """Returns the report of both networks, the paths of everything that the demo made, and the page at the end."""
    runs = [network.run.path for network in networks]
    return Report(
        body=(
            networks_report(networks, compared),
            "",
            f"Runs {runs[0]} and {runs[1]}, drift of every unit in {made.table}",
            f"Saved models in {made.saved}, inputs for these in {made.inputs}, with targets in {made.targets}",
            f"Every site and window: icshift compare {' --with '.join(_of_all_seeds(compared))}",
        ),
        next_step=f"Next: open {made.page} in a browser   (both networks side by side, and every window of each)",
    )


def _of_all_seeds(compared: RunComparison) -> list[str]:
    """Returns the paths of the runs of both groups, as they are typed."""
    return [join(map(str, paths)) for _, paths in compared.runs.groupby("group")["run"]]


def _ribbon(network: Trained, width: int) -> Group:
    series = network.typical
    unit, n = series["unit"].iloc[0], series["count"].max()
    title = f"{network.run.name} · {series['site'].iloc[0]} unit {unit}, n ≤ {n} a step"
    return Group(title, ribbon(series, width=width - 9, height=11))


def _facts(network: Trained) -> list[tuple[str, str]]:
    site, (wandered, first, last) = network.typical["site"].iloc[0], network.wandering
    listed = ", ".join(f"{accuracy:.3f}" for accuracy in network.accuracies)
    return [
        (network.run.name, f"accuracy on 397 digits {listed}"),
        ("", f"{site}, seed 1: a unit's median wandered {wandered:.2f}, its sd went {first:.2f} to {last:.2f}"),
        ("", overhead(network.run)),
    ]
