"""Whether a model sees other data than those it was trained on: drift of one data set against another, site by site.

A run holds both as phases of one window. What is said of a site is in words, but of measured numbers alone:

    no shift beyond noise    its units differ by no more than samples of one distribution would
    shifted                  some differ by more: which, with a false discovery rate of 5 % among them
    amplifies, absorbs       the drift is at least `AMPLIFIES` times that of the site before, or at most `ABSORBS` times
    running statistics stale they are at least `STALE` sd, and twice the noise, from precise ones of the reference

A site is called shifted where its units together differ so that noise alone would do so (in any site of the run) in one
of 20 runs: Simes' test over units, Bonferroni's over sites. What one layer does to the data behind it is not told apart
from what it does to data that were shifted already: ratios are of what was measured, and no causes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icshift.analysis import over_units
from icshift.analysis.distances import near_constant, w1
from icshift.analysis.drift import Comparison, by_site, choose_sites, drift
from icshift.analysis.floor import FALSE_DISCOVERIES, discoveries
from icshift.analysis.metrics import DEFAULT, METRICS, Metric, metric
from icshift.analysis.noise import Noise, noise, simes
from icshift.analysis.staleness import UNKNOWN, Distance, Statistics, from_running, staleness
from icshift.distribution import Distribution, Floats, Half
from icshift.runs.format import Site
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.reader import Run

AMPLIFIES = 1.25
ABSORBS = 0.8
"""Drift of a site over that of the one before: from and up to which there is a word for it."""

STALE = 0.1
"""Distance of running from precise statistics, in sd, from which on they are called stale.

A moving average is never precise: with PyTorch's momentum of 0.1 and batches of B it is sqrt(0.08 / B) away by the
batches' noise alone, 0.04 sd at 60 and 0.1 at 8.
"""

SITE_COLUMNS = (
    "site", "type", "units", "n", "nonfinite", "median", "p90", "max", "floor", "ratio",
    "p", "shifted", "moved", "relative", "before", "change", "verdict",
)  # fmt: skip
"""Columns of `site_table`."""

_ROUNDING = 1e-5

Parts = Mapping[tuple[str, str], Sequence[Half]]
"""By phase and site, what each part of the examples showed."""


class LayerStatistics(Protocol):
    """Statistics of a batch normalisation layer, as `icshift.replay.two_data_sets.LayerStatistics` holds them."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def eps(self) -> float: ...  # noqa: D102
    @property
    def running(self) -> Statistics: ...  # noqa: D102
    @property
    def reference(self) -> Sequence[Statistics]: ...  # noqa: D102
    @property
    def data(self) -> Sequence[Statistics]: ...  # noqa: D102
    @property
    def precise(self) -> Sequence[Statistics]: ...  # noqa: D102


@dataclass(frozen=True)
class LayerDistances:
    """How far the running statistics of a batch normalisation layer are from those of both data sets, in sd.

    `reference` and `data` are of what the layer gets in eval mode; `staleness` is the distance from precise statistics
    of the reference, layers normalising by the batch as in training.
    """

    name: str
    reference: Distance = UNKNOWN
    data: Distance = UNKNOWN
    staleness: Distance = UNKNOWN

    @classmethod
    def of(cls, layer: LayerStatistics) -> LayerDistances:
        """The distances between the statistics of one layer."""
        return cls(
            layer.name,
            from_running(layer.running, layer.reference, layer.eps),
            from_running(layer.running, layer.data, layer.eps),
            staleness(layer.running, layer.precise, layer.eps),
        )

    @property
    def stale(self) -> bool:
        """Whether running statistics are further from precise ones than a moving average is."""
        floor = np.nan_to_num(self.staleness.floor)
        return self.staleness.value >= STALE and self.staleness.value >= 2 * floor


@dataclass(frozen=True, eq=False)
class SiteShift:
    """One site in both data sets: `values` [units] of the metric, their `noise`, and which units moved beyond it.

    `p` is the probability that noise alone makes the site's units differ so much; `shifted` says that it does not.
    """

    comparison: Comparison
    values: Floats
    noise: Noise
    p: float
    shifted: bool
    moved: NDArray[np.bool_]

    @property
    def steady(self) -> NDArray[np.bool_]:
        """Units that are not near-constant: the others are left out of what is said of the site as a whole."""
        return ~near_constant(self.comparison.before, self.comparison.after)

    @property
    def median(self) -> float:
        """What the site as a whole drifts."""
        return over_units.median(np.abs(self.values)[self.steady])


@dataclass(frozen=True, eq=False)
class Result:
    """One model on two data sets, in tables: `site_table`, `unit_table` and `layer_table` say what their columns are.

    `limit`, in the unit of the metric, is what no site may drift beyond, if anything was asked. `above` are the names
    of the sites that do and are shifted, the most drifting first; `unknown` those of which too few examples leave open
    whether they are.
    """

    metric: Metric
    sites: pd.DataFrame
    units: pd.DataFrame
    layers: pd.DataFrame
    limit: float | None
    above: list[str]
    unknown: list[str]


def compare(
    run: Run,
    parts: Parts,
    statistics: Iterable[LayerStatistics],
    *,
    metric_name: str,
    sites: Iterable[str] | None,
    limit: float | None,
) -> Result:
    """Everything that is said of a run that holds one model on two data sets, as `icshift shift` makes it.

    Raises `SelectionError` for a metric or site that is not there.
    """
    layers = {one.name: LayerDistances.of(one) for one in statistics}
    found = shifts(run, parts, metric_name=metric_name)
    shown = site_table(run, found, layers, metric_name=metric_name, sites=sites)
    above, unknown = ([], []) if limit is None else _above(shown, limit)
    units = unit_table(run, found, metric_name=metric_name, sites=sites)
    return Result(metric(metric_name), shown, units, layer_table(layers.values()), limit, above, unknown)


def shifts(run: Run, parts: Parts, *, metric_name: str = "w1_sd") -> dict[str, SiteShift]:
    """Every site that both data sets reach, in model order. Raises `SelectionError`."""
    one, gauge = metric(metric_name, among="data sets"), METRICS[DEFAULT]
    compared = [found[0] for _, found in by_site(run, reference=f"phase:{REFERENCE}", phase=DATA)]
    result = {}
    for comparison in compared:
        name = comparison.site.name
        both = parts.get((REFERENCE, name), ()), parts.get((DATA, name), ())
        own = noise(gauge, *both, comparison.after.units)
        p = _p_values(own, comparison)
        together = simes(p)
        shifted = together <= FALSE_DISCOVERIES / len(compared)
        result[name] = SiteShift(
            comparison,
            one.function(comparison.before, comparison.after),
            own if one is gauge else noise(one, *both, comparison.after.units),
            together,
            shifted,
            discoveries(p) if shifted else np.zeros(len(p), bool),
        )
    return result


def site_table(
    run: Run,
    found: Mapping[str, SiteShift],
    layers: Mapping[str, LayerDistances],
    *,
    metric_name: str = "w1_sd",
    sites: Iterable[str] | None = None,
) -> pd.DataFrame:
    """A row a site in model order.

    `median`, `p90`, `max` and `floor` are over the units that are not near-constant; `relative` is the median over that
    of the most shifted input, `change` over that of the site `before`: in the order of the calls, but a normalisation
    layer's is what it reads; both are NaN where either site is not shifted. `p` is the probability of so much by noise
    alone, `moved` the share of units beyond it. `verdict` says it in words. A site that one data set did not reach has
    its name and a verdict alone.
    """
    unit = "" if metric(metric_name).unit in ("share", "0 to 1") else f" {metric(metric_name).unit}"
    rows: list[dict[str, object]] = []
    medians = {name: one.median for name, one in found.items()}
    inputs = [name for name in found if _is_input(found[name].comparison.site)]
    first = max(inputs, key=lambda name: np.nan_to_num(medians[name]), default=None)
    before = first
    for site in run.sites:
        if site.name not in found:
            rows.append({"site": site.name, "type": site.type, "verdict": "not measured: only one data set reaches it"})
            continue
        one = found[site.name]
        source = None if _is_input(site) else site.follows if site.follows in found else before
        change = _ratio(found, medians, site.name, source)
        whose = "the input" if source == first else "the site before" if source == before else f"{source}'s"
        said = [_of_drift(one, unit), *_of_change(change, whose), *_of_layer(layers.get(site.name))]
        rows.append(
            _of_site(one)
            | {"relative": _ratio(found, medians, site.name, first), "before": source or "", "change": change}
            | {"verdict": "; ".join(said)}
        )
        if not _is_input(site):
            before = site.name
    chosen = {site.name for site in choose_sites(run, sites)}
    return pd.DataFrame([row for row in rows if row["site"] in chosen], columns=SITE_COLUMNS)


def layer_table(layers: Iterable[LayerDistances]) -> pd.DataFrame:
    """A row a batch normalisation layer: `reference`, `data` and `staleness`, each with `_floor` and `_n`; `stale`."""
    rows = []
    for layer in layers:
        row: dict[str, object] = {"layer": layer.name}
        for name in ("reference", "data", "staleness"):
            distance = asdict(getattr(layer, name))
            row |= {name: distance["value"], f"{name}_floor": distance["floor"], f"{name}_n": distance["n"]}
        rows.append(row | {"stale": layer.stale})
    return pd.DataFrame(rows)


def unit_table(
    run: Run, found: Mapping[str, SiteShift], *, metric_name: str, sites: Iterable[str] | None
) -> pd.DataFrame:
    """The columns of every export, a row a unit: `floor`, `ratio` and `moved` by the parts of both data sets."""
    table = drift(run, metrics=(metric_name,), reference=f"phase:{REFERENCE}", phase=DATA, sites=sites)
    if len(table):
        shown = [found[name] for name in table["site"].unique()]
        table["floor"] = np.concatenate([one.noise.floor for one in shown])
        table["moved"] = np.concatenate([one.moved for one in shown])
        with np.errstate(divide="ignore", invalid="ignore"):
            table["ratio"] = np.where(table["floor"] > 0, table["value"].abs() / table["floor"], np.nan)
    return table


def _above(sites: pd.DataFrame, limit: float) -> tuple[list[str], list[str]]:
    """Sites that drift more than the limit and more than noise, the largest first; and those where noise is unknown."""
    known = sites[sites["n"].notna()]
    beyond = known[(known["shifted"] == 1) & (known["median"] > limit)].sort_values("median", ascending=False)
    return beyond["site"].tolist(), known[known["p"].isna()]["site"].tolist()


def _p_values(own: Noise, comparison: Comparison) -> Floats:
    before, after = comparison.before, comparison.after
    p = own.p_values
    # A constant is not computed to the last bit, and everything is far in sd of nearly nothing.
    rounded = w1(before, after) <= _ROUNDING * np.maximum(np.abs(before.mean), np.abs(after.mean))
    return np.where(near_constant(before, after) & rounded & np.isfinite(p), 1.0, p)


def _of_site(one: SiteShift) -> dict[str, object]:
    comparison, values = one.comparison, np.abs(one.values)[one.steady]
    floor = over_units.median(one.noise.floor[one.steady])
    return {
        "site": comparison.site.name,
        "type": comparison.site.type,
        "units": comparison.after.units,
        "n": _activations(comparison.before, comparison.after),
        "nonfinite": int((comparison.after.nonfinite > 0).sum()),
        "median": one.median,
        "p90": over_units.quantile(values, 0.9),
        "max": over_units.quantile(values, 1.0),
        "floor": floor,
        "ratio": one.median / floor if floor > 0 else np.nan,
        "p": one.p,
        "shifted": one.shifted,
        "moved": float(one.moved.mean()),
    }


def _of_drift(one: SiteShift, unit: str) -> str:
    if np.isnan(one.p):
        return "not known: too few examples to tell noise"
    if not one.shifted:
        return "no shift beyond noise"
    share = float(one.moved.mean())
    count = f"{100 * share:.0f} % of units" if share >= 0.1 else f"{one.moved.sum()} of {len(one.moved)} units"
    if share >= 0.5 and np.isfinite(one.median):
        return f"shifted: {count}, {_figure(one.median)}{unit}"
    return f"shifted: {count}, up to {_figure(over_units.quantile(np.abs(one.values)[one.moved], 1.0))}{unit}"


def _of_change(change: float, before: str) -> list[str]:
    if change >= AMPLIFIES:
        return [f"amplifies: {_figure(change)}x {before}"]
    return [f"absorbs: {_figure(change)}x {before}"] if change <= ABSORBS else []


def _of_layer(layer: LayerDistances | None) -> list[str]:
    if layer is None or not layer.stale:
        return []
    return [f"running statistics stale: {_figure(layer.staleness.value)} sd from those of the reference data"]


def _figure(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 10 else f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def _ratio(found: Mapping[str, SiteShift], medians: Mapping[str, float], name: str, other: str | None) -> float:
    if other is None or not (found[name].shifted and found[other].shifted) or not medians[other] > 0:
        return np.nan
    return medians[name] / medians[other]


def _is_input(site: Site) -> bool:
    return site.type == "Input"


def _activations(before: Distribution, after: Distribution) -> int:
    return int(np.median(np.minimum(before.sampled, after.sampled)))
