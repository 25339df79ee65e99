"""The series of a run that a dashboard shows: numbers over steps, and histograms of sites, a phase at a time.

Names are `quantity/site`, as dashboards group by what stands before the slash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.drift import default_phase
from icshift.analysis.health import health
from icshift.analysis.metrics import Metric
from icshift.analysis.metrics import metric as metric_named
from icshift.analysis.windows import by_window
from icshift.distribution import Distribution, Floats, Ints, weighted_values
from icshift.runs.format import Site, Window
from icshift.runs.phases import is_probe
from icshift.runs.selection import choose

if TYPE_CHECKING:
    import pandas as pd

    from icshift.runs.reader import StoredRun

BINS = 64
"""Bins of a histogram, of equal width from the lowest to the highest kept value."""

DEAD = "Share of units (0 to 1) that are dead: what reads them lets only positive activations through, and none was."

LOGGED = "logged"
"""Where the numbers stand that the training logged: beside the phases, of which they are not."""


@dataclass(frozen=True, eq=False)
class Scalars:
    """One number over steps, arrays [n] in order: `meaning` says in words what it is, and its unit.

    A number that is not known has no place in it. Not finite are only those that a training logged so.
    """

    name: str
    meaning: str
    steps: Ints
    values: Floats


@dataclass(frozen=True, eq=False)
class Histogram:
    """The sampled activations of all units of a site in one window: `counts` [BINS] between `edges` [BINS + 1].

    Every sampled activation counts 1, shared among the kept values of its unit. `sum` and `squares` are the sums of
    these values and of their squares, weighted so.
    """

    step: int
    edges: Floats
    counts: Floats
    sum: float
    squares: float


@dataclass(frozen=True, eq=False)
class Histograms:
    """The histograms of a site over windows, in order."""

    name: str
    meaning: str
    each: tuple[Histogram, ...]


@dataclass(frozen=True, eq=False)
class Sent:
    """All series of one phase, or of what was logged."""

    phase: str
    scalars: tuple[Scalars, ...]
    histograms: tuple[Histograms, ...] = ()


@dataclass(frozen=True)
class Written:
    """How many series of numbers and of histograms a dashboard has got."""

    scalars: int
    histograms: int

    @classmethod
    def all_of(cls, series: Iterable[Sent]) -> Self:
        """Returns the counts where nothing was left out."""
        counts = [(len(one.scalars), len(one.histograms)) for one in series]
        return cls(sum(scalars for scalars, _ in counts), sum(histograms for _, histograms in counts))


@dataclass(frozen=True)
class Asked:
    """What of a run is sent: None stands for all that there is, `metrics` are names."""

    metrics: tuple[str, ...]
    reference: str = "previous"
    sites: tuple[str, ...] | None = None
    phases: tuple[str, ...] | None = None


def keys(of: Sent, one: Scalars | Histograms) -> tuple[str, ...]:
    """Returns the parts of the name of a series where all phases are in one place: its phase, quantity and site."""
    quantity, _, site = one.name.partition("/")
    return (quantity, site) if of.phase == LOGGED == quantity else (of.phase, quantity, site)


def about(run: StoredRun) -> dict[str, Any]:
    """Returns what is told of the run itself."""
    told = (
        "icshift",
        "torch",
        "model",
        "parameters",
        "created",
        "finished",
        "stopped",
        "interrupted",
        "gaps",
        "settings",
    )
    known = {name: run.manifest[name] for name in told if name in run.manifest}
    return {"run": run.name, **known, **run.ending.data}


def by_steps(windows: Sequence[Window]) -> bool:
    """Whether every window ends at a later step than the one before it.

    Where not, as where an evaluation alone made a window, windows stand in a dashboard by their numbers.
    """
    ends = [-1, *(window.last_step for window in windows)]
    return all(before < after for before, after in pairwise(ends))


def place(run: StoredRun) -> dict[int, int]:
    """Returns where every window stands in a dashboard, by its number: at its last step, or at its number."""
    steps = by_steps(run.window_list)
    return {window.index: window.last_step if steps else window.index for window in run.window_list}


def phases_of(run: StoredRun, asked: Asked) -> list[str]:
    """Returns the phases that are sent: those asked for, or all but the one that is the reference."""
    if asked.phases:
        return [run.phase(name) for name in asked.phases]
    return [name for name in run.phases if asked.reference != f"phase:{name}"] or [default_phase(run)]


def sent(run: StoredRun, asked: Asked) -> Iterator[Sent]:
    """Yields the series of one phase after another, and at last what the training logged, if it did.

    Raises `SelectionError` for a metric, site, phase or reference that is not there.
    """
    sites = choose(run.sites, asked.sites)
    for phase in phases_of(run, asked):
        scalars = [*_drifts(run, phase, asked), *_windows(run, phase, sites), *_steps(run, phase, sites)]
        yield Sent(phase, tuple(scalars), tuple(_histograms(run, phase, sites)))
    logged = tuple(_of_training(run.logged()))
    if logged:
        yield Sent(LOGGED, logged)


def _drifts(run: StoredRun, phase: str, asked: Asked) -> Iterator[Scalars]:
    at = place(run)
    for name in asked.metrics:
        metric = metric_named(name)
        if metric.by_example and not is_probe(phase):
            continue
        table = by_window(run, metric_name=name, reference=asked.reference, phase=phase, sites=asked.sites)
        for site, rows in table.groupby("site", sort=False, observed=True):
            steps = np.array([at[index] for index in rows["window"]])
            for column, meaning in _meanings(metric, asked.reference).items():
                yield from _known(f"{column}_{name}/{site}", meaning, steps, rows[_COLUMNS[column]].to_numpy(float))


_COLUMNS = {"drift": "drift", "floor": "floor", "ratio": "ratio"}


def _meanings(metric: Metric, reference: str) -> dict[str, str]:
    what = "of the site" if metric.of == "site" else "median over units that are not near-constant"
    unit = f", in {metric.unit}" if metric.unit else ""
    return {
        "drift": f"{metric.meaning}: |{metric.name}| against {reference}, {what}{unit}.",
        "floor": f"What |{metric.name}| would show by sampling alone, {what}{unit}. None where there is no noise.",
        "ratio": f"Drift over floor of {metric.name}: around 1 nothing is seen to have moved.",
    }


def _windows(run: StoredRun, phase: str, sites: Sequence[Site]) -> Iterator[Scalars]:
    """Yields what a window shows by itself."""
    for site in sites:
        steps, recorded = _recorded(run, phase, site)
        sd = [over_units.median(one.std) for one in recorded]
        yield from _known(f"sd/{site.name}", "Standard deviation, median over units, in activations.", steps, sd)
        n = [float(np.median(one.sampled)) for one in recorded]
        yield from _known(f"n/{site.name}", "Sampled activations a unit and window, median over units.", steps, n)
        dead = [np.nan if (count := health(site, one).dead) is None else count / one.units for one in recorded]
        yield from _known(f"dead_share/{site.name}", DEAD, steps, dead)


def _steps(run: StoredRun, phase: str, sites: Sequence[Site]) -> Iterator[Scalars]:
    steps = run.steps(sites=[site.name for site in sites])
    of_phase = steps[steps["phase"] == phase]
    if of_phase.empty:
        return
    medians = of_phase.groupby(["site", "step"], observed=True)[["sd", "q50"]].median()
    for site in sites:
        if site.name in medians.index.get_level_values("site"):
            rows = medians.loc[site.name]
            at, sd, median = rows.index.to_numpy(), rows["sd"].to_numpy(float), rows["q50"].to_numpy(float)
            yield from _known(
                f"step_sd/{site.name}", "Standard deviation in a step, median over the series' units.", at, sd
            )
            yield from _known(
                f"step_median/{site.name}", "Median in a step, median over the series' units.", at, median
            )


def _of_training(rows: pd.DataFrame) -> Iterator[Scalars]:
    for name, of_name in rows.groupby("name", sort=False):
        steps, values = of_name["step"].to_numpy(np.int64), of_name["value"].to_numpy(float)
        order = np.argsort(steps, kind="stable")
        yield Scalars(f"{LOGGED}/{name}", "As the training logged it.", steps[order], values[order])


def _known(name: str, meaning: str, steps: Ints, values: Sequence[float] | Floats) -> Iterator[Scalars]:
    """Yields the series without what is not known; none where nothing is."""
    numbers = np.asarray(values, float)
    known = np.isfinite(numbers)
    if known.any():
        yield Scalars(name, meaning, np.asarray(steps)[known], numbers[known])


def _recorded(run: StoredRun, phase: str, site: Site) -> tuple[Ints, list[Distribution]]:
    """Returns what there is of a site, and where it stands."""
    pairs = [(at, run.distribution(phase, site.name, index)) for index, at in place(run).items()]
    there = [(at, one) for at, one in pairs if one is not None]
    return np.array([at for at, _ in there], np.int64), [one for _, one in there]


def _histograms(run: StoredRun, phase: str, sites: Iterable[Site]) -> Iterator[Histograms]:
    meaning = f"Sampled activations of all units in a window, in {BINS} bins."
    for site in sites:
        steps, recorded = _recorded(run, phase, site)
        each = [histogram(one, int(at)) for at, one in zip(steps, recorded, strict=True)]
        if any(each):
            yield Histograms(f"activations/{site.name}", meaning, tuple(filter(None, each)))


def histogram(distribution: Distribution, step: int) -> Histogram | None:
    """Returns the histogram of a site in a window, None where there is no finite activation."""
    values, weights = weighted_values(distribution.values.astype(float), distribution.sampled)
    there = np.isfinite(values)
    if not there.any():
        return None
    values, weights = values[there], weights[there]
    counts, edges = np.histogram(values, BINS, weights=weights)
    with np.errstate(over="ignore"):
        squares = float(weights @ values**2)
    return Histogram(step, edges, counts, float(weights @ values), squares)
