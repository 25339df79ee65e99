"""The units of a run: which of them drift most, the series of steps of one, and the drift of all in one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from shlex import quote

import numpy as np
import pandas as pd

from icshift.analysis.drift import Piece, by_site, default_phase, drift, drifts, refuse_without_examples
from icshift.analysis.metrics import METRICS
from icshift.analysis.metrics import metric as metric_named
from icshift.errors import SelectionError, listed, unknown
from icshift.noise.movement import FALSE_ALARMS
from icshift.runs.format import Site, kept_units, units_in_steps
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose


def most_drifting(
    run: StoredRun, site: Site, metric: str, reference: str, phase: str | None, level: float = FALSE_ALARMS
) -> pd.DataFrame:
    """Returns a data frame with one row per unit of a site, in the last window that has the reference.

    `level` is that of `drift`. Columns are those of `drift` and those of `StoredRun.windows`; the most drifting unit
    comes first. Where there is nothing to compare, the rows are of the last window that was recorded, and the drift is
    NaN.

    Raises `SelectionError` for what is not there, and for a metric that this site's units do not have in this phase.
    """
    name = default_phase(run) if phase is None else run.phase(phase)
    recorded = [w.index for w in run.window_list if run.distribution(name, site.name, w.index) is not None]
    if not recorded:
        raise SelectionError(f"site {site.name} has nothing recorded in phase {name}; phases: {listed(run.phases)}")
    _refuse_without_units(run, site, metric, reference, name)
    pairs = [
        one for _, each in by_site(run, reference=reference, phase=phase, sites=[site.name]) for one in each.windows
    ]
    index = pairs[-1][0].index if pairs else recorded[-1]
    here = run.windows(phase=name, sites=site.name, windows=[index])
    distribution = here.drop(columns=["phase", "site", "window"])
    if pairs:
        compared = drift(
            run,
            metrics=(metric,),
            reference=reference,
            phase=phase,
            sites=[site.name],
            windows=[index],
            level=level,
        )
        last = compared.merge(distribution, on="unit")
        return last.sort_values("value", key=lambda value: -value.abs(), kind="stable", ignore_index=True)
    blank = distribution.assign(
        site=here["site"].iloc[0],
        unit=kept_units(site),
        phase=name,
        window=index,
        reference="",
        value=np.nan,
        floor=np.nan,
        ratio=np.nan,
    )
    everything = blank["count"] + blank["nonfinite"]
    untold = pd.array([pd.NA] * len(blank), "boolean")
    return blank.assign(moved=untold, near_constant=False, n=blank["sampled"], activations=everything)


def _refuse_without_units(run: StoredRun, site: Site, metric: str, reference: str, phase: str) -> None:
    """Raises `SelectionError` for metrics that units do not have, or not in this phase."""
    chosen = metric_named(metric)
    if chosen.of == "site":
        raise SelectionError(
            f"{metric} is of a site as a whole, its units have none: "
            f"icshift report {run.path} --metric {metric} --phase {phase} --site {quote(site.name)} shows it"
        )
    for _, comparisons in by_site(run, reference=reference, phase=phase, sites=[site.name]):
        refuse_without_examples(chosen, run, phase, [comparisons[-1]])


def unit_series(run: StoredRun, site: Site, unit: int, phase: str | None) -> pd.DataFrame:
    """Returns the series of steps of one unit, one row per step, in the columns of `StoredRun.steps`.

    Of a run up to a window (`StoredRun.until`) it ends with that window. Without a `phase` it is
    of `train`, or of the first phase that has a series where `train` has none. Raises `SelectionError`
    for a unit or phase without a series.
    """
    known = kept_units(site)
    if unit not in known:
        recorded = "all" if site.kept is None else f"{len(known)} of them recorded"
        raise SelectionError(f"no unit {unit} in site {site.name}: it has units 0 to {site.units - 1}, {recorded}")
    in_series = units_in_steps(site)
    if unit not in in_series:
        some = ", ".join(map(str, in_series[:6].tolist()))
        raise SelectionError(
            f"unit {unit} of site {site.name} is not in the step series, which has {len(in_series)} of {site.units} "
            f"units, drawn at random: {some}, …; Sites(max_step_units=None) records all"
        )
    steps = run.steps(sites=[site.name])
    phases = list(dict.fromkeys(steps["phase"]))
    wanted = phase or ("train" if "train" in phases else next(iter(phases), "train"))
    if wanted not in phases:
        raise unknown("phase with a step series", wanted, phases)
    here = (steps["phase"] == wanted) & (steps["unit"] == unit)
    if not run.whole:
        here &= steps["step"] <= run.window_list[-1].last_step
    return steps[here].reset_index(drop=True)


def drift_of_phases(
    run: StoredRun,
    metrics: Iterable[str],
    *,
    reference: str = "previous",
    sites: Iterable[str] | None = None,
    phases: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Returns the drift of every unit in these phases, one below the other, in the columns of `drift`.

    By default it is of all phases that were recorded, but for the one that `reference` names. Raises `SelectionError`
    for what is not there.
    """
    chosen = phases_asked(run, reference, phases)
    frames = [drift(run, metrics=list(metrics), reference=reference, phase=name, sites=sites) for name in chosen]
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else frames[0]


def rows_of_phases(
    run: StoredRun,
    metrics: Iterable[str],
    *,
    reference: str = "previous",
    sites: Iterable[str] | None = None,
    phases: Iterable[str] | None = None,
) -> Iterator[Piece]:
    """Returns the rows of `drift_of_phases`, piece by piece. Raises the same, before there is any."""
    chosen = [run.phase(name) for name in phases_asked(run, reference, phases)]
    names, few = list(metrics), choose(run.sites, None if sites is None else list(sites))
    each = [
        drifts(run, metrics=names, reference=reference, phase=name, sites=[site.name for site in few])
        for name in chosen
    ]
    return chain.from_iterable(each)


def phases_asked(run: StoredRun, reference: str, phases: Iterable[str] | None) -> list[str]:
    """Returns the phases that are asked for or, by default, all that were recorded but the one of the `reference`."""
    # With no phase left, `default_phase` or `drift` raises the error that says why.
    return list(phases or [name for name in run.phases if reference != f"phase:{name}"] or [default_phase(run)])


def without_values(drifts: pd.DataFrame) -> list[str]:
    """Returns the names of the metrics by example that have no value in a table of drifts, for want of a probe."""
    by_example = drifts[drifts["metric"].map(lambda name: METRICS[name].by_example).astype(bool)]
    return [str(name) for name, rows in by_example.groupby("metric", sort=False) if not rows["n"].any()]


def typical_unit(run: StoredRun, site: str) -> pd.DataFrame:
    """Returns the series of training steps of a typical unit of the site, in the columns of `StoredRun.steps`.

    It is the unit whose median ranges, over the steps, as far as in the middle one of all units of the series.
    """
    steps = run.steps(phase="train", sites=[site])
    ranges = median_ranges(steps).sort_values()
    return steps[steps["unit"] == ranges.index[len(ranges) // 2]].reset_index(drop=True)


def wandering(run: StoredRun, site: str) -> tuple[float, float, float]:
    """Returns the range of the medians over the windows of a training, and the sd in its first and in its last window.

    All three are in activation units, and medians over the units of the site.
    """
    windows = run.windows()
    here = windows[(windows["site"] == site) & (windows["phase"] == "train")]
    spread = here.groupby("window")["sd"].median()
    return float(median_ranges(here).median()), float(spread.iloc[0]), float(spread.iloc[-1])


def median_ranges(series: pd.DataFrame) -> pd.Series[float]:
    """Returns the largest less the smallest median, by unit, of rows that have `unit` and `q50`."""
    return series.groupby("unit")["q50"].agg(lambda median: median.max() - median.min())
