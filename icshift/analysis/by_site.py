"""The summary of a run that `icshift report` shows: one row per site, with its drift and its distribution."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd

from icshift.analysis import over_units
from icshift.analysis.anatomy import PARTS, shares
from icshift.analysis.comparison import Comparison, floor_of
from icshift.analysis.drift import Referrer, by_site, default_phase, movements, referrer, refuse_without_examples
from icshift.analysis.health import health, without_data
from icshift.analysis.metrics import DEFAULT, Metric
from icshift.analysis.metrics import metric as metric_named
from icshift.analysis.trends import Trend, trends
from icshift.noise.movement import FALSE_ALARMS, Movement
from icshift.runs.format import QUANTILE_COLUMNS, STEP_QUANTILES, Site, Window
from icshift.runs.frames import in_model_order
from icshift.runs.phases import normalises_by_its_own_inputs
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

ALONE = "one window leaves nothing to compare"
"""`moved_unknown` where a phase has but one window."""

_NOTHING = "nothing in window {}"

_TOGETHER = 1 << 13
"""Units whose windows are gone through together: of two windows they take some 10 MB, 30 at most."""


def summary(
    run: StoredRun,
    *,
    metric_name: str = DEFAULT,
    reference: str | int = "previous",
    phase: str | None = None,
    sites: Iterable[str] | None = None,
    level: float = FALSE_ALARMS,
) -> pd.DataFrame:
    """Returns a data frame with one row per site in model order, about the last window that has the reference.

    `drift`, the median over units of the absolute drift, its `p90` and `max`, its `floor` and its `error` are over the
    units that are not near-constant, in the metric's unit (a mean would follow the few wildest); `ratio` is drift /
    floor. `moved` is the share of units that moved beyond noise, NaN where that cannot be told: `moved_unknown` says
    why. Where it cannot be told of `moved_untold` units of a site that was judged, `moved` is the least that it can be.
    `location`, `scale` and `shape` are the medians of the three shares of w2 squared. `trend` is a list with the median
    of every window, in units of sd by one sd for all of them. `noiseless` says that both windows are of a probe, other
    than by running averages (which have a floor). `window` is the number, `name` the name of the window, `reference`
    that of the other. A metric of the whole site has its value as `drift`, and NaN as `p90` and `max`; for a metric by
    example there is the number of `rows` that were compared.

    `level` is the share of windows in which nothing moved that may show a site.

    `activations` (their number), `n` (that of the sampled ones), `mean`, `sd`, `zero_share` and the quantiles are
    medians over the units, in the phase's last window. `affine_moments` says that the site's mean and sd are set by its
    own weight and bias. The counts are those of `Health`, with the reason why some are `unknown`. A site with nothing
    to compare has only these, and in `moved_unknown` what is missing for that; of one that got no row in that window,
    as an expert that no token was sent to, they are 0 or NaN.

    Raises `SelectionError` for a metric, site, phase or reference that is not there, and for a metric by example in a
    phase without examples.
    """
    how: dict[str, Any] = {"reference": reference, "phase": phase, "sites": sites, "level": level}
    found = rows(run, metric_name=metric_name, together=_TOGETHER, **how)
    return table(run, [row for row in found if row is not None])


def rows(
    run: StoredRun,
    *,
    metric_name: str = DEFAULT,
    reference: str | int = "previous",
    phase: str | None = None,
    sites: Iterable[str] | None = None,
    level: float = FALSE_ALARMS,
    together: int = 1,
) -> Iterator[dict[str, object] | None]:
    """Returns the rows of `summary`, of one chosen site after another: None of a site that has none.

    What moved is known when it returns; what is read of a site is forgotten with the next, or of neighbours with
    `together` so many units with those after them. Raises as `summary` does.
    """
    metric = metric_named(metric_name)
    phase = default_phase(run) if phase is None else run.phase(phase)
    asked = sites if sites is None or isinstance(sites, str) else list(sites)
    compared = {site.name: each for site, each in by_site(run, reference=reference, phase=phase, sites=asked)}
    refuse_without_examples(metric, run, phase, (comparisons[-1] for comparisons in compared.values()))
    ends = {comparisons.windows[-1][0].index for comparisons in compared.values()}
    moved = movements(run, reference=reference, phase=phase, windows=ends, level=level)
    latest, phases = _latest(run, phase), run.phases
    shown = next(window for window in run.window_list if window.index == max(ends, default=latest.index))
    refer = referrer(run, reference, phase)

    def of_some(some: Sequence[Site]) -> Iterator[dict[str, object] | None]:
        here = {site.name: compared.pop(site.name) for site in some if site.name in compared}
        last = {name: comparisons[-1] for name, comparisons in here.items()}  # Which the trend and the row both read.
        trend = trends(run, metric, phase, some, here)
        for site in some:
            yield row(site, last.pop(site.name, None), trend[site.name])

    def row(site: Site, last: Comparison | None, trend: Trend) -> dict[str, object] | None:
        recorded = {w.index for w in run.window_list if run.distribution(phase, site.name, w.index)}
        if latest.index not in recorded:
            return _without_rows(site, phase, latest) if recorded or _never_had_rows(run, site, phases) else None
        found = _of_site(run, site, phase, latest, trend)
        if last is not None and last.window.index == shown.index:
            return found | _of_drift(metric, last, trend, moved[shown.index])
        return found | {"moved_unknown": _lacking(run, shown, refer, reference, recorded)}

    return chain.from_iterable(map(of_some, _in_turns(choose(run.sites, asked), together)))


def _in_turns(sites: Sequence[Site], units: int) -> Iterator[list[Site]]:
    """Yields sites in order, as many at a time as have so many units, at least one."""
    some: list[Site] = []
    for site in sites:
        if some and sum(one.recorded for one in [*some, site]) > units:
            yield some
            some = []
        some.append(site)
    yield some


def _lacking(run: StoredRun, shown: Window, refer: Referrer, reference: str | int, recorded: Collection[int]) -> str:
    """Returns why a site, which was `recorded` in windows of these numbers, is not compared in the one that is shown.

    Where a window before that has something of it, it says so.
    """
    if shown.index not in recorded:
        return _NOTHING.format(shown.name)
    label, place = refer(shown)
    if place is None:
        return ALONE if str(reference) in ("previous", "first") else f"window {shown.name} is the reference itself"
    if label not in [window.name for window in run.window_list]:
        return f"nothing of the same type in {label} to compare window {shown.name} with"
    lacking = f"nothing in window {label} to compare window {shown.name} with"
    before = [window.name for window in run.window_list if window.index in recorded and window.index < shown.index]
    return lacking + (f"; --reference {quote(before[-1])} compares it with window {before[-1]}" if before else "")


def table(run: StoredRun, found: Sequence[dict[str, object]]) -> pd.DataFrame:
    """Returns rows of `summary` as its data frame."""
    whole = in_model_order(pd.DataFrame(found), run.sites)
    return whole.astype(dict.fromkeys(("window", "moved_untold"), "Int64")) if "window" in whole else whole  # May lack.


def _latest(run: StoredRun, phase: str) -> Window:
    """Returns the last window of a phase."""
    windows = reversed(run.window_list)
    return next(w for w in windows if any(run.distribution(phase, site.name, w.index) for site in run.sites))


def _never_had_rows(run: StoredRun, site: Site, phases: Sequence[str]) -> bool:
    """Whether a site got no row in any phase and window."""
    return not any(run.distribution(phase, site.name, w.index) for w in run.window_list for phase in phases)


def _without_rows(site: Site, phase: str, latest: Window) -> dict[str, object]:
    """Returns the row of a site that got nothing in the last window."""
    unknown = ("rank_error", "mean", "sd", "zero_share", *QUANTILE_COLUMNS)
    named = {"site": site.name, "type": site.type, "phase": phase, "activations": 0, "n": 0, "affine_moments": False}
    named["moved_unknown"] = _NOTHING.format(latest.name)
    return named | dict.fromkeys(unknown, np.nan) | vars(without_data(site))


def _of_site(run: StoredRun, site: Site, phase: str, latest: Window, trend: Trend) -> dict[str, object]:
    last = run.distribution(phase, site.name, latest.index)
    assert last is not None
    quantiles = last.quantile(STEP_QUANTILES).T
    return {
        "site": site.name,
        "type": site.type,
        "phase": phase,
        "activations": int(np.median(last.count + last.nonfinite)),
        "n": int(np.median(last.sampled)),
        "rank_error": last.rank_error,
        "mean": over_units.median(last.mean),
        "sd": over_units.median(last.std),
        "zero_share": over_units.median(last.zero_share),
        **dict(zip(QUANTILE_COLUMNS, map(over_units.median, quantiles), strict=True)),
        "affine_moments": site.batch_statistics and normalises_by_its_own_inputs(phase, run.settings),
        **asdict(health(site, last, trend.usual)),
    }


def _of_drift(metric: Metric, last: Comparison, trend: Trend, moved: Movement) -> dict[str, object]:
    steady = ~metric.near_constant(last.before, last.after)
    shown = metric.function(last.before, last.after)
    values, noise = np.abs(shown)[steady], floor_of(metric, last, shown)[steady]
    error = metric.error(last.before, last.after)[steady] if metric.error else np.empty(0)
    median, level = over_units.median(values), over_units.median(noise)
    units = values if metric.of == "unit" else np.empty(0)
    return {
        "window": last.window.index,
        "name": last.window.name,
        "reference": last.reference,
        "metric": metric.name,
        "drift": median,
        "p90": over_units.quantile(units, 0.9),
        "max": over_units.quantile(units, 1.0),
        "floor": level,
        "error": over_units.median(error),
        "ratio": median / level if level > 0 else np.nan,
        "noiseless": last.noiseless,
        **({"rows": int(np.median(metric.n(last.before, last.after)))} if metric.by_example else {}),
        "moved": moved.share(last.site.name),
        "moved_unknown": moved.unknown.get(last.site.name, ""),
        "moved_untold": moved.untold(last.site.name),
        **dict(zip(PARTS, map(float, shares(last)), strict=True)),
        "trend": list(trend.drifts),
    }
