"""Drift: every unit of every site in every window against a reference, with its floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from icshift.analysis.ancestry import PAIRED_RUN, RUN, refuse_other_inputs, refuse_strangers
from icshift.analysis.by_example import have_same_examples
from icshift.analysis.comparison import Comparison, Comparisons, Place, floor_of
from icshift.analysis.floor import unresolved
from icshift.analysis.metrics import DEFAULT, METRICS, Metric
from icshift.analysis.metrics import metric as metric_named
from icshift.blocks import Blocks
from icshift.distribution import Distribution
from icshift.errors import SelectionError, unknown
from icshift.noise.drifts import Flags
from icshift.noise.movement import FALSE_ALARMS, Movement, called, movement
from icshift.noise.sooner import FIRST, can_tell, few_of
from icshift.runs.format import Site, Window, kept_units
from icshift.runs.frames import in_model_order
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.reader import StoredRun
from icshift.runs.selection import choose

COLUMNS = ("run", "phase", "site", "unit", "window", "reference", "metric", "value", "n", "floor")
"""The first columns of the table that `drift` returns and `icshift export` writes, in order.

After them come `error`, `ratio`, `near_constant`, `moved` and `activations`.
"""

ALL_COLUMNS = (*COLUMNS, "error", "ratio", "near_constant", "moved", "activations")

Piece: TypeAlias = "dict[str, Any]"
"""Rows of a drift: by column an array [rows], or what is the same in all of them. `moved` is 1, 0 or `UNTOLD`."""

UNTOLD = -1
"""`moved` in a `Piece` where it cannot be told."""

WHOLE_SITE = -1
"""The value of the column `unit` in rows about a site as a whole."""

Referrer: TypeAlias = "Callable[[Window], tuple[str, Place | None]]"
"""Returns what a window is compared with: its name, and where it is or None where there is none."""


def drift(
    run: StoredRun,
    *,
    metrics: Sequence[str] = (DEFAULT,),
    reference: str | int = "previous",
    phase: str | None = None,
    sites: Iterable[str] | None = None,
    windows: Iterable[int] | None = None,
    level: float = FALSE_ALARMS,
) -> pd.DataFrame:
    """Returns a data frame with one row per unit, window and metric: the columns `COLUMNS` and those that follow them.

    `value` is in the metric's unit. `n` is the number of sampled activations, of the window or of its reference,
    whichever has fewer. `floor` is the value that sampling noise alone would show, `ratio` is |value| / floor, and
    `error` is the bound on what sketching may have added. All three are NaN where they are not known. `moved` says
    whether the unit moved beyond noise (see `movement`), whichever metric the row shows; it is NA where that cannot be
    told of the site or of this unit. `activations` are all of the unit in the window, sampled or not. Rows are of the
    `windows` of these numbers, or of all. In each window all sites of the run are judged together, also where only some
    are asked for; `level` is the share of windows in which nothing moved that may
    show any.

    `reference` is "previous", "first", a window's name or number, "phase:NAME" (same window, other phase), "run:PATH"
    (same window and phase of another run that shares an ancestor with this one, see `ancestry`) or "paired-run:PATH"
    (of any other run: unit by number, as if it did). A site that is of another type there is left out. Raises
    `SelectionError` for a metric, site, phase or reference that is not there, and for a run that shares none.

    A metric of the whole site has one row a window, with `unit` -1; `moved` is then true if the site moved. Of a metric
    by example, `n` is the number of examples compared, and `value` is NaN in a phase without examples.
    """
    pieces = drifts(run, metrics=metrics, reference=reference, phase=phase, sites=sites, windows=windows, level=level)
    frames = [frame(piece) for piece in pieces] or [pd.DataFrame(columns=ALL_COLUMNS)]
    return in_model_order(pd.concat(frames, ignore_index=True), run.sites)


def drifts(
    run: StoredRun,
    *,
    metrics: Sequence[str],
    reference: str | int,
    phase: str | None,
    sites: Iterable[str] | None,
    windows: Iterable[int] | None = None,
    level: float = FALSE_ALARMS,
) -> Iterator[Piece]:
    """Yields the rows of `drift`, of one site, window and metric after another; of one site at a time all is read."""
    chosen = [metric_named(name) for name in metrics]
    asked = sites if sites is None or isinstance(sites, str) else list(sites)
    choose(run.sites, asked)
    wanted = None if windows is None else set(windows)
    moved = movements(run, reference=reference, phase=phase, windows=wanted, level=level)
    for _, comparisons in by_site(run, reference=reference, phase=phase, sites=asked):
        for comparison in comparisons:
            if comparison.window.index in moved:
                for metric in chosen:
                    yield _piece(run, comparison, metric, moved[comparison.window.index])


def by_site(
    run: StoredRun, *, reference: str | int = "previous", phase: str | None = None, sites: Iterable[str] | None = None
) -> Iterator[tuple[Site, Comparisons]]:
    """Yields every chosen site with its comparisons in order of windows.

    Sites with nothing to compare are left out. Raises `SelectionError` for a site, phase or reference that is not
    there.
    """
    phase = default_phase(run) if phase is None else run.phase(phase)
    refer = referrer(run, reference, phase)
    for site in choose(run.sites, sites):
        windows = []
        for window in run.window_list:
            after = run.distribution(phase, site.name, window.index)
            if after is None:
                continue
            label, place = refer(window)
            before = None if place is None else _of_same_type(site, *place)
            if place is not None and before is not None and before.units == after.units:
                windows.append((window, label, place))
        if windows:
            yield site, Comparisons(site, run, phase, windows)


_JUDGED: WeakKeyDictionary[StoredRun, tuple[Any, dict[int, Movement]]] = WeakKeyDictionary()
"""What moved in windows of a run that was asked about last: reports and pages need it for tables and for words."""


def movements(
    run: StoredRun,
    *,
    reference: str | int = "previous",
    phase: str | None = None,
    windows: Iterable[int] | None = None,
    level: float = FALSE_ALARMS,
) -> dict[int, Movement]:
    """Returns what moved beyond noise in every window, or in some, by the number of the window.

    All sites of the run are judged together. `level` is the share of windows in which nothing moved that may show any
    site. Raises `SelectionError` for a phase or reference that is not there.
    """
    found = going_back(run, reference=reference, phase=phase, windows=windows, level=level)
    return dict(sorted((judged.window.index, judged.movement) for judged in found))


@dataclass(frozen=True, eq=False)
class Judged:
    """One window of all sites of a run, compared with a reference, of which is computed what is asked for."""

    run: StoredRun
    reference: str
    comparisons: Sequence[Comparison]
    level: float

    @property
    def window(self) -> Window:
        """The window."""
        return self.comparisons[0].window

    @property
    def movement(self) -> Movement:
        """What moved in it."""
        known = self._known()
        if self.window.index not in known:
            known[self.window.index] = _moved(self.comparisons, self.level)
        return known[self.window.index]

    @property
    def any_site(self) -> bool:
        """Whether any site moved in it, which takes far less time where it is not known already: see `sooner.py`."""
        if self.window.index in self._known():
            return bool(self.movement.called)
        level = self.level
        if few := few_of([comparison.after.units for comparison in self.comparisons]):
            sampled, certain, _ = _kinds([self.comparisons[place] for place in few])
            told = can_tell(sampled, FIRST * level)
            if any(units.any() for units in certain.values()) or (told and called(sampled, FIRST * level)):
                return True
            level -= FIRST * level if told else 0.0
        sampled, certain, _ = _kinds(self.comparisons)
        return any(units.any() for units in certain.values()) or bool(called(sampled, level))

    def _known(self) -> dict[int, Movement]:
        asked = self.reference, self.comparisons[0].phase, self.level
        if _JUDGED.get(self.run, (None, {}))[0] != asked:
            _JUDGED[self.run] = asked, {}
        return _JUDGED[self.run][1]


def going_back(
    run: StoredRun,
    *,
    reference: str | int = "previous",
    phase: str | None = None,
    windows: Iterable[int] | None = None,
    level: float = FALSE_ALARMS,
) -> Iterator[Judged]:
    """Yields every window, or some, from the last one back, to be judged.

    Of each window and its reference is read what noise is computed from, once it is its turn.
    """
    wanted = None if windows is None else set(windows)
    compared: dict[int, list[Comparison]] = {}
    for _, comparisons in by_site(run, reference=reference, phase=phase):
        for comparison in comparisons:
            if wanted is None or comparison.window.index in wanted:
                compared.setdefault(comparison.window.index, []).append(comparison)
    for index in sorted(compared, reverse=True):
        here = compared.pop(index)  # What is read of it is forgotten with it.
        yield Judged(run, str(reference), here, level)


def _kinds(
    comparisons: Iterable[Comparison],
) -> tuple[dict[str, tuple[Blocks | None, Blocks | None]], dict[str, Flags], dict[str, Flags]]:
    """Returns blocks by site and, where both windows are of a probe, which units moved, and of which that is told."""
    sampled, certain, told = {}, {}, {}
    for comparison in comparisons:
        name, before, after = comparison.site.name, comparison.before, comparison.after
        if before.blocks is None and after.blocks is None:
            certain[name], told[name] = _beyond_error(comparison)
        else:
            sampled[name] = before.blocks, after.blocks
    return sampled, certain, told


def _moved(comparisons: Iterable[Comparison], level: float) -> Movement:
    """Returns what moved in one window. In a probe nothing has to be told from noise."""
    compared = list(comparisons)
    sampled, certain, told = _kinds(compared)
    lost = {each.site.name: unresolved(each.before, each.after) for each in compared if each.site.name in sampled}
    of_noise = movement(sampled, level).untold_of(lost)
    return replace(
        of_noise,
        called=(*of_noise.called, *(name for name, units in certain.items() if units.any())),
        p=of_noise.p | {name: float(not units.any()) for name, units in certain.items()},
        moved=of_noise.moved | certain,
        told=of_noise.told | told,
    )


def _beyond_error(comparison: Comparison) -> tuple[Flags, Flags]:
    """Returns which units of a probe drifted beyond the sketch's error and, by running averages, beyond their lag.

    After them come the units of which that can be told: those with finite values in both windows.
    """
    gauge = METRICS[DEFAULT]
    before, after = comparison.before, comparison.after
    assert gauge.error is not None
    # float32 rounding of what is kept is no movement either.
    bound = np.maximum(gauge.error(before, after), 1e-6)
    bound = np.maximum(bound, floor_of(gauge, comparison)) if comparison.lags else bound
    drifted = gauge.function(before, after)
    return np.asarray(drifted > bound), np.isfinite(drifted)


def refuse_without_examples(metric: Metric, run: StoredRun, phase: str, comparisons: Iterable[Comparison]) -> None:
    """Raises `SelectionError` where a metric by example has no examples to compare."""
    compared = list(comparisons)
    if (
        metric.by_example
        and compared
        and not any(have_same_examples(comparison.before, comparison.after) for comparison in compared)
    ):
        probes = [name for name in run.phases if name.startswith("probe") and name != phase]
        what = f"choose --phase {probes[0]}" if probes else "record with a probe"
        if phase.startswith("probe"):
            what = "both windows must be of the same probe, recorded by this version or a later one"
        raise SelectionError(f"{metric.name} compares the same examples in two windows, phase {phase} has none: {what}")


def as_asked(run: StoredRun, phase: str | None, reference: str) -> tuple[str, str]:
    """Returns phase and reference of a command: what was asked for, else what the run is for.

    Of the two data sets of `icshift shift` that is the one against the other, else a window against the one before.
    """
    if phase is None and reference == "previous" and set(run.phases) == {DATA, REFERENCE}:
        return DATA, f"phase:{REFERENCE}"
    return default_phase(run) if phase is None else phase, reference


def default_phase(run: StoredRun) -> str:
    """Returns `train` if it was recorded, else the first phase there is. Raises `SelectionError` if there is none."""
    phases = run.phases
    if not phases:
        raise SelectionError(run.no_windows)
    return "train" if "train" in phases else phases[0]


def referrer(run: StoredRun, reference: str | int, phase: str) -> Referrer:
    """Returns a function window -> (label, where its reference lies or None) for the reference.

    Raises `SelectionError` where the reference names nothing.
    """
    kind, _, name = str(reference).partition(":")
    recorded = [
        w for w in run.window_list if any(run.distribution(phase, s.name, w.index) is not None for s in run.sites)
    ]
    if kind == "phase" and name:
        other = run.phase(name)
        if other == phase:
            raise SelectionError(
                f"the reference phase:{name} is the phase itself; compare it with another: {run.phases}"
            )
        return lambda window: (f"phase:{other}", (run, other, window.index))
    if kind in (RUN, PAIRED_RUN) and name:
        against = StoredRun(name)
        against.phase(phase)
        if kind == RUN:
            refuse_strangers(run, against)
        refuse_other_inputs(run, against, phase)
        return lambda window: (f"{kind}:{name}", (against, phase, window.index))
    if reference == "previous":
        before = dict(zip([w.index for w in recorded[1:]], recorded, strict=False))
        return lambda window: _of_window(run, phase, before.get(window.index))
    if reference == "first":
        fixed: Window | None = recorded[0]
    else:
        known = [w.name for w in run.window_list]
        fixed = next((w for w in recorded if str(reference) in (w.name, str(w.index))), None)
        if fixed is None:
            raise unknown(
                "reference", reference, ["previous", "first", *known, "phase:NAME", "run:PATH", "paired-run:PATH"]
            )
    return lambda window: _of_window(run, phase, None if window == fixed else fixed)


def _of_same_type(site: Site, run: StoredRun, phase: str, window: int) -> Distribution | None:
    """Returns what a run has of a site of this name, unless it is of another type there."""
    there = run.by_name.get(site.name)
    return run.distribution(phase, site.name, window) if there is not None and there.type == site.type else None


def _of_window(run: StoredRun, phase: str, window: Window | None) -> tuple[str, Place | None]:
    return ("", None) if window is None else (window.name, (run, phase, window.index))


def _piece(run: StoredRun, comparison: Comparison, metric: Metric, judged: Movement) -> Piece:
    before, after, name = comparison.before, comparison.after, comparison.site.name
    whole = metric.of == "site"
    moved = np.full(1 if whole else before.units, UNTOLD)
    if name in judged.moved:
        moved = (
            np.array([int(name in judged.called)]) if whole else np.where(judged.told[name], judged.moved[name], UNTOLD)
        )
    value = metric.function(before, after)
    noise = floor_of(metric, comparison, value)
    activations = after.count + after.nonfinite
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(noise > 0, np.abs(value) / noise, np.nan)
    return {
        "run": run.name,
        "phase": comparison.phase,
        "site": name,
        "unit": np.array([WHOLE_SITE]) if whole else kept_units(comparison.site),
        "window": comparison.window.index,
        "reference": comparison.reference,
        "metric": metric.name,
        "value": value,
        "n": metric.n(before, after),
        "floor": noise,
        "error": np.full(len(value), np.nan) if metric.error is None else metric.error(before, after),
        "ratio": ratio,
        # Left out is also a unit of which one window has nothing finite; that it is near-constant is not known.
        "near_constant": metric.near_constant(before, after) & (whole or (before.count > 0) & (after.count > 0)),
        "moved": moved,
        "activations": int(np.median(activations)) if whole else activations,
    }


def frame(piece: Piece) -> pd.DataFrame:
    """Returns rows of a drift as a data frame, with text in the column `site`."""
    told = piece["moved"]
    return pd.DataFrame(piece | {"moved": pd.arrays.BooleanArray(told == 1, told == UNTOLD)})
