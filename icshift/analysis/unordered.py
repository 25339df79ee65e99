"""Two networks whose units have no order in common, site by site: only what does not depend on an order of units.

A permutation of the units of one of them changes none of these numbers. None has a floor: networks that were trained
apart differ by their seeds, and how much that is takes several trainings of each to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from icshift.analysis.ancestry import PAIRED_RUN, refuse_other_inputs, same_inputs
from icshift.analysis.by_example import cka_distance, have_same_examples, sliced_w2
from icshift.analysis.drift import WHOLE_SITE, default_phase
from icshift.distribution import Distribution, Floats
from icshift.errors import SelectionError
from icshift.runs.format import Site
from icshift.runs.frames import in_model_order
from icshift.runs.phases import is_probe
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

MOST = 2048
"""Units that are matched, at most: finding the best of all matchings takes time with their third power."""

MEASURES = {
    "unit_means": ("sd", "Wasserstein-1 between the means of all units of both"),
    "unit_sds": ("sd", "the same between their sds"),
    "unit_zeros": ("share", "the same between their shares of exact zeros"),
    "matched_w2": ("activation", "sliced W2 of the same examples, units matched as well as can be"),
    "cka_distance": ("0 to 1", "1 - linear CKA of the same examples"),
}
"""The measures, each with its unit and its meaning; the first two are over the typical sd of a unit of both."""

COLUMNS = ("run", "phase", "site", "unit", "window", "reference", "metric", "value", "n", "units", "units_there")


@dataclass(frozen=True)
class _Pair:
    """A site in one window of both runs; `paired` says that examples of both are of the same inputs."""

    site: Site
    window: int
    there: Distribution
    here: Distribution
    paired: bool


def unordered(
    run: StoredRun, other: StoredRun, *, phase: str | None = None, sites: Iterable[str] | None = None
) -> pd.DataFrame:
    """Returns a row a site, window and measure of `MEASURES`, of windows of the same number: the columns `COLUMNS`.

    `unit` is -1, as of other measures of a whole site, `units` and `units_there` are the numbers of units of both. `n`
    is the number of activations a unit, of the run that has fewer, and of measures of examples that of examples.
    `value` is NaN where examples are not known to be of the same inputs. A site that is of another type in the other
    run is left out.

    Raises `SelectionError` for a phase or site that is not there, for probes of different inputs, and where the runs
    have no site in common.
    """
    phase = default_phase(run) if phase is None else run.phase(phase)
    other.phase(phase)
    refuse_other_inputs(run, other, phase)
    rows = []
    for pair in _pairs(run, other, phase, sites):
        fixed = {"run": run.name, "phase": phase, "site": pair.site.name, "unit": WHOLE_SITE, "window": pair.window}
        for metric, (value, n) in _measured(pair).items():
            row = {"reference": f"run:{other.path}", "metric": metric, "value": value, "n": n}
            rows.append(fixed | row | {"units": pair.here.units, "units_there": pair.there.units})
    if not rows:
        raise SelectionError(
            f"{run.path} and {other.path} have no window of phase {phase} with a site of the same name and type"
        )
    return in_model_order(pd.DataFrame(rows, columns=list(COLUMNS)), run.sites)


def measures(metrics: Iterable[str]) -> list[str]:
    """Returns these measures, of none or "all" all of them. Raises `SelectionError` for metrics that compare units."""
    named = [metric for metric in metrics if metric != "all"]
    unit_by_unit = [metric for metric in named if metric not in MEASURES]
    if not unit_by_unit:
        return named or list(MEASURES)
    raise SelectionError(
        f"{', '.join(unit_by_unit)} compares unit by unit, and these runs are not known to share initial weights: "
        f"choose {', '.join(MEASURES)}, or {PAIRED_RUN}:PATH as reference to pair units by number all the same"
    )


def unordered_of_phases(
    run: StoredRun,
    other: StoredRun,
    metrics: Iterable[str],
    *,
    sites: Iterable[str] | None = None,
    phases: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Returns the table of `unordered` for several phases, and for some of its measures.

    By default it is of all phases that both runs have, but for probes of different inputs.
    """
    wanted = measures(metrics)
    apart = same_inputs(run, other) is False
    common = [name for name in run.phases if name in other.phases and not (apart and is_probe(name))]
    frames = [unordered(run, other, phase=name, sites=sites) for name in phases or common or [default_phase(run)]]
    table = pd.concat(frames, ignore_index=True)
    return table[table["metric"].isin(wanted)].reset_index(drop=True)


def _pairs(run: StoredRun, other: StoredRun, phase: str, sites: Iterable[str] | None) -> Iterator[_Pair]:
    types = {site.name: site.type for site in other.sites}
    paired = same_inputs(run, other) is True
    for site in choose(run.sites, sites):
        for window in run.window_list:
            here, there = (one.distribution(phase, site.name, window.index) for one in (run, other))
            if here is not None and there is not None and types[site.name] == site.type:
                yield _Pair(site, window.index, there, here, paired)


def _measured(pair: _Pair) -> dict[str, tuple[float, int]]:
    """Returns the value of every measure, and the number that it rests on."""
    a, b = pair.there, pair.here
    n = int(min(np.median(a.sampled), np.median(b.sampled)))
    stds = np.concatenate([a.std, b.std]).astype(float)
    known = stds[np.isfinite(stds)]
    largest = known.max(initial=0.0) or 1.0  # Squares of 1e200 fit no float.
    spread = float(largest * np.sqrt(np.mean((known / largest) ** 2))) if len(known) else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "unit_means": (float(np.divide(apart(a.mean, b.mean), spread)), n),
            "unit_sds": (float(np.divide(apart(a.std, b.std), spread)), n),
            "unit_zeros": (apart(a.zero_share, b.zero_share), n),
        }
    compared = pair.paired and a.examples is not None and b.examples is not None
    rows = min(a.examples.shape[1], b.examples.shape[1]) if compared else 0  # type: ignore[union-attr]
    return values | {
        "matched_w2": (matched_w2(a, b) if compared else np.nan, rows),
        "cka_distance": (_cka_distance(a, b) if compared else np.nan, rows),
    }


def apart(first: Floats, second: Floats) -> float:
    """Returns the Wasserstein-1 distance of two sets of numbers, of any sizes; NaN where either has none finite."""
    a, b = (np.sort(values[np.isfinite(values)].astype(float)) for values in (first, second))
    if not len(a) or not len(b):
        return np.nan
    edges = np.unique(np.concatenate([np.arange(len(a) + 1) / len(a), np.arange(len(b) + 1) / len(b)]))
    middles = (edges[1:] + edges[:-1]) / 2
    gaps = np.abs(a[(middles * len(a)).astype(int)] - b[(middles * len(b)).astype(int)])
    return float(gaps @ np.diff(edges))


def matched_w2(a: Distribution, b: Distribution) -> float:
    """Returns `sliced_w2` of the same examples, of the matching of units with the least squared distance.

    NaN where numbers of units differ, or are more than `MOST`, and for examples that are not finite.
    """
    if not have_same_examples(a, b) or a.units > MOST:
        return np.nan
    from scipy.optimize import linear_sum_assignment

    assert a.examples is not None
    assert b.examples is not None
    first, second = a.examples.astype(float), b.examples.astype(float)
    finite = np.isfinite(first).all(0) & np.isfinite(second).all(0)
    first, second = first[:, finite], second[:, finite]
    cost = (first**2).sum(1)[:, None] + (second**2).sum(1)[None, :] - 2 * first @ second.T
    order = linear_sum_assignment(cost)[1]
    return float(sliced_w2(a, replace(b, examples=b.examples[order]))[0])


def _cka_distance(a: Distribution, b: Distribution) -> float:
    """Returns `cka_distance` of layers of any two widths: units that one has not are constant, and do not count."""
    units = max(a.units, b.units)
    wide = [replace(one, examples=_with_rows(one.examples, units)) for one in (a, b)]
    return float(cka_distance(*wide)[0]) if have_same_examples(*wide) else np.nan


def _with_rows(examples: Floats | None, units: int) -> Floats:
    assert examples is not None
    return np.concatenate([examples, np.zeros((units - len(examples), examples.shape[1]), examples.dtype)])
