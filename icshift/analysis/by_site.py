"""One row a site: what a report says of its drift."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import pandas as pd

from icshift.analysis import over_units
from icshift.analysis.distances import near_constant, w2_location, w2_scale, w2_shape
from icshift.analysis.drift import (
    Comparison,
    by_site,
    choose_sites,
    default_phase,
    floor_of,
    moved_share,
    refuse_without_examples,
    site_nulls,
)
from icshift.analysis.health import health
from icshift.analysis.metrics import DEFAULT, Metric, metric
from icshift.distribution import Distribution, Floats
from icshift.runs.format import STEP_QUANTILES, Site
from icshift.runs.phases import normalises_by_its_own_inputs
from icshift.runs.reader import Run


def summary(
    run: Run,
    *,
    metric_name: str = DEFAULT,
    reference: str | int = "previous",
    phase: str | None = None,
    sites: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Returns a row a site in model order, about the last window that has the reference.

    `median`, `p90`, `max`, `floor`, `error` and `ratio` (of median and floor) are over the units that are not
    near-constant (a mean would follow the few wildest); in absolute value, in the metric's unit. `moved` is the share
    of units beyond noise (NaN where none is known). `location`, `scale` and `shape` are the medians of the three
    shares of w2 squared. `trend` is the median of every window. `affine_moments` says that the site's moments are set
    by its own weight and bias. `mean`, `std`, `zero_share` and quantiles are medians over units of the last window.
    A metric of the whole site has its value as `median`, no `p90` and no `max`; one by example says how many `rows`
    it compared. Sites with nothing to compare have these, counts and health alone. `noiseless`
    says that both windows are of a probe, other than by running averages (which have a floor). Raises `SelectionError`
    for what is not there, as the examples of a probe.
    """
    one = metric(metric_name)
    phase = default_phase(run) if phase is None else run.phase(phase)
    compared = dict(by_site(run, reference=reference, phase=phase, sites=sites))
    refuse_without_examples(one, run, phase, (comparisons[-1] for comparisons in compared.values()))
    rows = []
    for site in choose_sites(run, sites):
        recorded = [d for w in run.window_list if (d := run.distribution(phase, site.name, w.index)) is not None]
        if not recorded:
            continue
        row = _of_site(run, site, phase, recorded[-1])
        if site in compared:
            row |= _of_drift(one, compared[site], site_nulls(run, site, phase))
        rows.append(row)
    return pd.DataFrame(rows)


def _of_site(run: Run, site: Site, phase: str, last: Distribution) -> dict[str, object]:
    return {
        "site": site.name,
        "type": site.type,
        "phase": phase,
        "n": int(np.median(last.sampled)),
        "rank_error": last.rank_error,
        **{name: over_units.median(getattr(last, name)) for name in ("mean", "std", "zero_share")},
        **{f"q{round(100 * p):02d}": over_units.median(last.quantile([p])[:, 0]) for p in STEP_QUANTILES},
        "affine_moments": site.batch_statistics and normalises_by_its_own_inputs(phase, run.settings),
        **asdict(health(site, last)),
    }


def _of_drift(one: Metric, comparisons: list[Comparison], nulls: dict[int, Floats]) -> dict[str, object]:
    last = comparisons[-1]
    steady = ~one.near_constant(last.before, last.after)
    values = np.abs(one.function(last.before, last.after))[steady]
    noise = floor_of(one, last)[steady]
    error = one.error(last.before, last.after)[steady] if one.error else np.empty(0)
    median, level = over_units.median(values), over_units.median(noise)
    units = values if one.of == "unit" else np.empty(0)
    return {
        "window": last.window.name,
        "reference": last.reference,
        "metric": one.name,
        "median": median,
        "p90": over_units.quantile(units, 0.9),
        "max": over_units.quantile(units, 1.0),
        "floor": level,
        "error": over_units.median(error),
        "ratio": median / level if level > 0 else np.nan,
        "noiseless": last.noiseless,
        **({"rows": int(np.median(one.n(last.before, last.after)))} if one.by_example else {}),
        "moved": moved_share(last, nulls),
        **_split(last, ~near_constant(last.before, last.after)),
        "trend": [_typical(one, comparison) for comparison in comparisons],
    }


def _split(comparison: Comparison, units: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> dict[str, float]:
    parts = [part(comparison.before, comparison.after)[units] ** 2 for part in (w2_location, w2_scale, w2_shape)]
    total = np.sum(parts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [over_units.median(np.where(total > 0, part / total, np.nan)) for part in parts]
    # Medians of three shares need not add up to 1.
    together = sum(shares)
    return (
        dict(zip(("location", "scale", "shape"), (share / together for share in shares), strict=True))
        if together
        else {}
    )


def _typical(one: Metric, comparison: Comparison) -> float:
    steady = ~one.near_constant(comparison.before, comparison.after)
    return over_units.median(np.abs(one.function(comparison.before, comparison.after))[steady])
