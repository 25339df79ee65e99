"""Whether a model sees other data than those it was trained on: drift of one data set against another, site by site.

A run holds both data sets as phases of one window. The verdict on a site is made of these phrases, each of which
follows from measured numbers alone:

    no shift beyond noise    its units differ by no more than samples of one distribution would
    shifted                  some differ by more: which, with a false discovery rate of 5 % among them
    constant                 so many units have one value in either data set, and not the same: no spread to compare by
    no finite value          so many units have only NaN or infinity in one data set
    not known                so many constants differ by no more than rounding, or there are too few examples
    amplifies, absorbs       the drift is at least `AMPLIFIES` times that of the site before, or at most `ABSORBS` times
    running statistics stale they are at least `STALE` sd, and twice the noise, from precise ones of the reference

A site is called shifted where its units together differ so that noise alone would do so (in any site of the run) in one
of 20 runs: Simes' test over units, Bonferroni's over sites. Ratios compare the drifts of two sites, and divide only by
one that is above noise, most units of the site having moved. They name no cause: a layer that shifts its data by itself
cannot be told from one that passes on a shift of its input.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icshift.analysis import over_units
from icshift.analysis.comparison import Comparison
from icshift.analysis.distances import near_constant, rounded, w1
from icshift.analysis.drift import by_site, drift
from icshift.analysis.metrics import DEFAULT, METRICS, Metric
from icshift.analysis.metrics import metric as metric_named
from icshift.analysis.noise_of_parts import Noise, noise, simes
from icshift.analysis.staleness import UNKNOWN, Distance, MeanAndVariance, from_running, staleness
from icshift.distribution import Distribution, Floats, Sample
from icshift.noise.movement import FALSE_ALARMS, discoveries
from icshift.runs.format import Site
from icshift.runs.frames import in_model_order
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

AMPLIFIES = 1.25
"""A site amplifies where its drift is at least this multiple of the drift of the site before it."""

ABSORBS = 0.8
"""A site absorbs where its drift is at most this multiple of the drift of the site before it."""

STALE = 0.1
"""Running statistics are called stale from this distance to the precise ones on, in sd.

A moving average is never precise: with PyTorch's momentum of 0.1 and batches of B it is sqrt(0.08 / B) away by the
batches' noise alone, 0.04 sd at 60 and 0.1 at 8.
"""

SITE_COLUMNS = (
    "site", "type", "units", "n", "nonfinite", "drift", "p90", "max", "floor", "ratio",
    "p", "shifted", "moved", "moved_untold", "relative", "before", "change", "verdict",
)  # fmt: skip
"""Columns of `site_table`."""

Parts = Mapping[tuple[str, str], Sequence[Sample]]
"""The activations of each part of the examples, by (phase, name of the site)."""


class LayerStatistics(Protocol):
    """Statistics of a batch normalisation layer, as `icshift.replay.two_data_sets.LayerStatistics` holds them."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def eps(self) -> float: ...  # noqa: D102
    @property
    def running(self) -> MeanAndVariance: ...  # noqa: D102
    @property
    def reference(self) -> Sequence[MeanAndVariance]: ...  # noqa: D102
    @property
    def data(self) -> Sequence[MeanAndVariance]: ...  # noqa: D102
    @property
    def precise(self) -> Sequence[MeanAndVariance]: ...  # noqa: D102


@dataclass(frozen=True)
class LayerDistances:
    """How far the running statistics of a batch normalisation layer are from those of both data sets, in sd.

    `name` is that of the layer. `reference` and `data` are the distances from the statistics of the layer's inputs in
    eval mode. `staleness` is the distance from precise statistics: those of the reference while every layer normalises
    by the batch, as in training.
    """

    name: str
    reference: Distance = UNKNOWN
    data: Distance = UNKNOWN
    staleness: Distance = UNKNOWN

    @classmethod
    def of(cls, layer: LayerStatistics) -> LayerDistances:
        """Returns the distances between the statistics of one layer."""
        return cls(
            layer.name,
            from_running(layer.running, layer.reference, layer.eps),
            from_running(layer.running, layer.data, layer.eps),
            staleness(layer.running, layer.precise, layer.eps),
        )

    @property
    def stale(self) -> bool:
        """Whether `staleness` is at least `STALE` sd and at least twice its floor."""
        floor = np.nan_to_num(self.staleness.floor)
        return self.staleness.value >= STALE and self.staleness.value >= 2 * floor


@dataclass(frozen=True, eq=False)
class SiteShift:
    """How much one site differs between the two data sets.

    `comparison` holds the site's distributions on both. `values` [units] are those of the metric and `noise` is its
    noise. `p` is the probability that noise alone makes the units differ as much as they do, NaN where the noise is not
    known; `shifted` says that it is small enough to call the site shifted. `moved` [units] marks the units that moved
    beyond noise, none of a site that is not shifted, `told` [units] those of which that is known. It is not of
    units that are `rounded` [units].
    """

    comparison: Comparison
    values: Floats
    noise: Noise
    p: float
    shifted: bool
    moved: NDArray[np.bool_]
    told: NDArray[np.bool_]
    rounded: NDArray[np.bool_]

    @property
    def steady(self) -> NDArray[np.bool_]:
        """Marks the units [units] that are not near-constant: numbers about the site as a whole are of these."""
        return ~near_constant(self.comparison.before, self.comparison.after)

    @property
    def median(self) -> float:
        """The drift of the site: the median of the absolute values of its steady units; NaN where there are none."""
        return over_units.median(np.abs(self.values)[self.steady])

    @property
    def is_typical(self) -> bool:
        """Whether the median is above its floor and at least half of the steady units moved; else it may be noise."""
        steady = self.steady
        floor = over_units.median(self.noise.floor[steady])
        return bool(steady.any() and self.moved[steady].mean() >= 0.5 and self.median > np.nan_to_num(floor))

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """Marks the units [units] of which one data set gave no finite value."""
        return (self.comparison.before.sampled == 0) | (self.comparison.after.sampled == 0)


@dataclass(frozen=True, eq=False)
class Result:
    """One model on two data sets, in tables.

    `sites`, `units` and `layers` are made by `site_table`, `unit_table` and `layer_table`, which describe their
    columns, of the `shifts` by the metric.
    """

    metric: Metric
    shifts: Mapping[str, SiteShift]
    sites: pd.DataFrame
    units: pd.DataFrame
    layers: pd.DataFrame


def compare(
    run: StoredRun,
    parts: Parts,
    statistics: Iterable[LayerStatistics],
    *,
    metric_name: str,
    sites: Iterable[str] | None,
) -> Result:
    """Returns the result of comparing one model's activations on two data sets, both held by a run of `icshift shift`.

    `parts` are the activations by parts of the examples, from which the noise is computed; `statistics` are those of
    the model's batch normalisation layers. Raises `SelectionError` for a metric or site that is not there.
    """
    layers = {layer.name: LayerDistances.of(layer) for layer in statistics}
    site_shifts = shifts(run, parts, metric_name=metric_name)
    table = site_table(run, site_shifts, layers, metric_name=metric_name, sites=sites)
    units = unit_table(run, site_shifts, metric_name=metric_name, sites=sites)
    return Result(metric_named(metric_name), site_shifts, table, units, layer_table(layers.values()))


def shifts(run: StoredRun, parts: Parts, *, metric_name: str = "w1_sd") -> dict[str, SiteShift]:
    """Returns the shift of every site that both data sets reach, by the site's name, in model order.

    Raises `SelectionError` for a metric that is not known or that compares the same examples.
    """
    metric, gauge = metric_named(metric_name, among="data sets"), METRICS[DEFAULT]
    # A run of two data sets has one window, so that each site has one comparison.
    compared = [comparisons[0] for _, comparisons in by_site(run, reference=f"phase:{REFERENCE}", phase=DATA)]
    result = {}
    for comparison in compared:
        name = comparison.site.name
        both = parts.get((REFERENCE, name), ()), parts.get((DATA, name), ())
        gauge_noise = noise(gauge, *both, comparison.after.units)
        p = _p_values(gauge_noise, comparison.before, comparison.after)
        together = simes(p)
        shifted = together <= FALSE_ALARMS / len(compared)
        result[name] = SiteShift(
            comparison,
            metric.function(comparison.before, comparison.after),
            gauge_noise if metric is gauge else noise(metric, *both, comparison.after.units),
            together,
            shifted,
            discoveries(p) if shifted else np.zeros(len(p), bool),
            np.isfinite(p),
            rounded(comparison.before, comparison.after),
        )
    return result


def site_table(
    run: StoredRun,
    site_shifts: Mapping[str, SiteShift],
    layers: Mapping[str, LayerDistances],
    *,
    metric_name: str = "w1_sd",
    sites: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Returns a data frame with one row per site in model order and the columns `SITE_COLUMNS`.

    `n` is the number of activations a unit and `nonfinite` the number of units with NaN or infinity in the data.
    `drift`, the median of the units' absolute drifts, `p90` and `max` of these, and `floor` are over the units that are
    not near-constant, in the metric's unit; `ratio` is drift / floor. `p` is the probability that noise alone makes the
    units differ as much, `shifted` whether the site is called shifted, `moved` the share of its units that moved beyond
    noise: the least that it can be where that cannot be told of `moved_untold` units. Without `p` none of the three is
    known.

    `relative` is the median divided by that of the most shifted input, `change` the median divided by that of the site
    `before`, which is the previous one in the order of the calls, or of a normalisation layer the one that it reads;
    NaN where the site is not shifted, where the other median is noise (`SiteShift.is_typical`), or its own is and would
    seem larger. `verdict` is made of the module's phrases. Of a site not reached, name and type are known.
    """
    metric = metric_named(metric_name)
    unit = "" if metric.unit in ("share", "0 to 1") else f" {metric.unit}"
    rows: list[dict[str, object]] = []
    medians = {name: site_shift.median for name, site_shift in site_shifts.items()}
    inputs = [name for name, site_shift in site_shifts.items() if _is_input(site_shift.comparison.site)]
    first = max(inputs, key=lambda name: (site_shifts[name].is_typical, np.nan_to_num(medians[name])), default=None)
    before = first
    for site in run.sites:
        if site.name not in site_shifts:
            rows.append({"site": site.name, "type": site.type, "verdict": "not measured: only one data set reaches it"})
            continue
        site_shift = site_shifts[site.name]
        source = None if _is_input(site) else site.follows if site.follows in site_shifts else before
        change = _ratio(site_shifts, medians, site.name, source)
        whose = "the input" if source == first else "the site before" if source == before else f"{source}'s"
        phrases = [*_of_drift(site_shift, unit), *_of_change(change, whose), *_of_layer(layers.get(site.name))]
        rows.append(
            _of_site(site_shift)
            | {"relative": _ratio(site_shifts, medians, site.name, first), "before": source or "", "change": change}
            | {"verdict": "; ".join(phrases)}
        )
        if not _is_input(site):
            before = site.name
    chosen = {site.name for site in choose(run.sites, sites)}
    table = pd.DataFrame([row for row in rows if row["site"] in chosen], columns=SITE_COLUMNS)
    return in_model_order(table.astype({"moved_untold": "Int64"}), run.sites)


def layer_table(layers: Iterable[LayerDistances]) -> pd.DataFrame:
    """Returns a data frame with one row per batch normalisation layer; without columns where there are none.

    `reference`, `data` and `staleness` are the distances of `LayerDistances`, in sd. For each of them, a column that
    ends in `_floor` holds the distance that sampling alone would show, and one in `_n` the activations a unit. `stale`
    says whether the running statistics are stale.
    """
    rows = []
    for layer in layers:
        row: dict[str, object] = {"layer": layer.name}
        for name in ("reference", "data", "staleness"):
            distance = asdict(getattr(layer, name))
            row |= {name: distance["value"], f"{name}_floor": distance["floor"], f"{name}_n": distance["n"]}
        rows.append(row | {"stale": layer.stale})
    return pd.DataFrame(rows)


def unit_table(
    run: StoredRun, site_shifts: Mapping[str, SiteShift], *, metric_name: str, sites: Iterable[str] | None
) -> pd.DataFrame:
    """Returns a data frame with one row per unit, in the columns of `drift`.

    `floor`, `ratio` and `moved` (NA where that cannot be told) are computed from the parts of both data sets, and not
    from blocks of a window.
    """
    table = drift(run, metrics=(metric_name,), reference=f"phase:{REFERENCE}", phase=DATA, sites=sites)
    if len(table):
        shown = [site_shifts[name] for name in table["site"].unique()]
        floors = [np.where(site_shift.rounded, np.nan, site_shift.noise.floor) for site_shift in shown]
        table["floor"] = np.concatenate(floors)
        moved, told = (np.concatenate([getattr(one, name) for one in shown]) for name in ("moved", "told"))
        table["moved"] = pd.arrays.BooleanArray(moved, ~told)
        with np.errstate(divide="ignore", invalid="ignore"):
            table["ratio"] = np.where(table["floor"] > 0, table["value"].abs() / table["floor"], np.nan)
    return table


def _p_values(gauge_noise: Noise, before: Distribution, after: Distribution) -> Floats:
    p = gauge_noise.p_values
    still = near_constant(before, after) & (w1(before, after) == 0) & np.isfinite(p)
    return np.where(rounded(before, after), np.nan, np.where(still, 1.0, p))


def _of_site(site_shift: SiteShift) -> dict[str, object]:
    comparison, values = site_shift.comparison, np.abs(site_shift.values)[site_shift.steady]
    floor = over_units.median(site_shift.noise.floor[site_shift.steady])
    return {
        "site": comparison.site.name,
        "type": comparison.site.type,
        "units": comparison.after.units,
        "n": _activations(comparison.before, comparison.after),
        "nonfinite": int((comparison.after.nonfinite > 0).sum()),
        "drift": site_shift.median,
        "p90": over_units.quantile(values, 0.9),
        "max": over_units.quantile(values, 1.0),
        "floor": floor,
        "ratio": site_shift.median / floor if floor > 0 else np.nan,
        "p": site_shift.p,
        **(_of_noise(site_shift) if np.isfinite(site_shift.p) else {}),
    }


def _of_noise(site_shift: SiteShift) -> dict[str, object]:
    return {
        "shifted": site_shift.shifted,
        "moved": float(site_shift.moved.mean()),
        "moved_untold": int((~site_shift.told).sum()),
    }


def _of_drift(site_shift: SiteShift, unit: str) -> list[str]:
    unseen, moved = site_shift.unseen, site_shift.moved
    lost = [f"no finite value: {_share(unseen)}"] if unseen.any() else []
    if site_shift.rounded.any():
        lost.append(f"not known, constants that differ by rounding: {_share(site_shift.rounded)}")
    if np.isnan(site_shift.p):
        few = not (unseen | site_shift.rounded).all()
        return ["not known: too few examples to tell noise"] * few + lost
    if not site_shift.shifted:
        return ["no shift beyond noise", *lost]
    constant = moved & ~site_shift.steady
    far = np.abs(site_shift.values)[moved & site_shift.steady]
    if site_shift.is_typical:
        figure = f", {_figure(site_shift.median)}{unit}"
    else:
        figure = f", up to {_figure(over_units.quantile(far, 1.0))}{unit}" if np.isfinite(far).any() else ""
    others = [f"constant in both, at other values: {_share(constant)}"] if constant.any() else []
    return [f"shifted: {_share(moved)}{figure}", *others, *lost]


def _share(marked: NDArray[np.bool_]) -> str:
    share = float(marked.mean())
    return f"{100 * share:.0f} % of units" if share >= 0.1 else f"{marked.sum()} of {len(marked)} units"


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


def _ratio(site_shifts: Mapping[str, SiteShift], medians: Mapping[str, float], name: str, other: str | None) -> float:
    if other is None or not (site_shifts[name].shifted and site_shifts[other].is_typical):
        return np.nan
    ratio = medians[name] / medians[other]
    # Noise in the dividend makes it larger: what it is at most is still known.
    return ratio if ratio < 1 or site_shifts[name].is_typical else np.nan


def _is_input(site: Site) -> bool:
    return site.type == "Input"


def _activations(before: Distribution, after: Distribution) -> int:
    return int(np.median(np.minimum(before.sampled, after.sampled)))
