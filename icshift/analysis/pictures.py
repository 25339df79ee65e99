"""Pictures of units: percentiles and densities of some units of a site over windows, the farthest ones first of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from icshift.curve import curve
from icshift.distribution import Distribution, Floats, Ints
from icshift.runs.format import STEP_QUANTILES

FANS = 32
"""Units of a site whose percentiles and densities are computed."""

RIDGES = 25
"""Windows whose densities are computed, at most."""

BINS = 32
"""Bins of a density."""

LEVELS = 15
"""Heights of a bin: 0 to 15."""

_PROBABILITIES = ((np.arange(256) + 0.5) / 256).tolist()

Recorded: TypeAlias = "Sequence[Distribution | None]"
"""What was recorded of a site in every window of a run, None where nothing was."""


@dataclass(frozen=True, eq=False)
class Fans:
    """Percentiles (5, 15, 50, 85, 95) over windows of some units, which `places` [k] name by their place in the order.

    `quantiles` [k, windows, 5] are NaN where nothing was recorded.
    """

    places: Ints
    quantiles: Floats


@dataclass(frozen=True, eq=False)
class Densities:
    """Histograms of some units in some windows, all of one unit over the same bins and to one scale.

    `heights` [k, windows, BINS] are shares of the highest bin of a unit, from 0 to `LEVELS`; `edges` [k, 2] are the
    ends of its bins, `windows` the places of the windows. Values beyond the ends are in the outermost bins.
    """

    places: Ints
    windows: Ints
    edges: Floats
    heights: NDArray[np.uint8]


def pictures(recorded: Recorded, order: Ints, places: Ints | None = None) -> tuple[Fans, Densities]:
    """Returns percentiles and densities of some units of a site, given what was `recorded` of it in every window.

    `order` [units] are rows, the one that went farthest first; the units are at these `places` in it, or half of them
    are its first ones, the others at even ranks of the rest.
    """
    places = half_and_half(len(order), FANS) if places is None else places
    some = {at: one for at, one in enumerate(recorded) if one is not None and one.units == len(order)}
    there = [*some]
    ridges = [there[place] for place in spread(len(some), RIDGES)]
    fans = np.full((len(places), len(recorded), len(STEP_QUANTILES)), np.nan)
    drawn = np.full((len(places), len(ridges), len(_PROBABILITIES)), np.nan)
    found = _quantiles([some[at] for at in ridges], order[places], [*STEP_QUANTILES, *_PROBABILITIES])
    fans[:, ridges], drawn[:] = found[..., : len(STEP_QUANTILES)], found[..., len(STEP_QUANTILES) :]
    others = sorted(some.keys() - set(ridges))
    fans[:, others] = _quantiles([some[at] for at in others], order[places], STEP_QUANTILES)
    return Fans(places, fans), _densities(places, np.array(ridges, np.int64), drawn)


def _quantiles(windows: Sequence[Distribution], units: Ints, probabilities: Sequence[float]) -> Floats:
    """Returns quantiles [units, windows, probabilities] of some units.

    Of windows that are kept alike the quantile functions are made together: most sites have few units, and a call takes
    longer than what it computes.
    """
    found = np.full((len(units), len(windows), len(probabilities)), np.nan)
    alike: dict[tuple[object, ...], list[int]] = {}
    for at, one in enumerate(windows):
        width, sampled = one.values.shape[1], one.sampled[units]
        if width and (sampled > width).any():
            alike.setdefault((width, one.values.dtype, one.tails is None), []).append(at)
        else:
            found[:, at] = one.quantile(probabilities, units)
    for places in (each[start : start + RIDGES] for each in alike.values() for start in range(0, len(each), RIDGES)):
        here = [windows[at] for at in places]
        values, sampled, zeros = (
            np.concatenate([getattr(one, name)[units] for one in here]) for name in ("values", "sampled", "zero_share")
        )
        tails = [one.tails[units] for one in here if one.tails is not None]
        rows = curve(values, sampled, np.concatenate(tails) if tails else None, zeros).at(probabilities)
        rows[sampled == 0] = np.nan
        found[:, places] = rows.reshape(len(here), len(units), -1).swapaxes(0, 1)
    return found


def no_pictures(windows: int) -> tuple[Fans, Densities]:
    """Returns the percentiles and densities of no unit."""
    none: Ints = np.zeros(0, np.int64)
    fans = np.zeros((0, windows, len(STEP_QUANTILES)))
    return Fans(none, fans), _densities(none, none, np.zeros((0, 0, len(_PROBABILITIES))))


def _densities(places: Ints, windows: Ints, drawn: Floats) -> Densities:
    """Returns histograms of values [units, windows, values] between their outermost but one, over all windows."""
    edges = np.zeros((len(places), 2))
    heights = np.zeros((*drawn.shape[:2], BINS), np.uint8)
    known = np.flatnonzero(np.isfinite(drawn).any((1, 2)))
    if len(known):
        some = drawn[known]
        low, high = np.nanmin(some[:, :, 1], 1), np.nanmax(some[:, :, -2], 1)
        high = np.where(high > low, high, low + np.maximum(np.abs(low), 1.0) * 1e-3)
        edges[known] = np.stack([low, high], axis=1)
        counts = _counts(np.clip(some, low[:, None, None], high[:, None, None]), low, high)
        most = np.maximum(counts.max((1, 2)), 1.0)
        heights[known] = np.rint(LEVELS * counts / most[:, None, None])
    return Densities(places, windows, edges, heights)


def _counts(values: Floats, low: Floats, high: Floats) -> Floats:
    """Returns how many values [units, windows, values] are in each of `BINS` bins [units, windows, BINS].

    Bins of a unit are equal, from `low` to `high` [units], and hold what `numpy.histogram` puts into them, of which a
    call a unit and window takes a hundred times as long. NaN is in none.
    """
    edges = np.linspace(low, high, BINS + 1, axis=1)
    low, high = low[:, None, None], high[:, None, None]
    known = np.isfinite(values)
    place = np.where(known, (values - low) / (high - low) * BINS, 0.0).astype(np.int64)
    place = np.minimum(place, BINS - 1)
    start = np.arange(len(values))[:, None, None]
    place -= values < edges[start, place]  # Rounding may have put it beside the bin whose edges it lies between.
    place += (values >= edges[start, place + 1]) & (place < BINS - 1)
    bin_ = (np.arange(known[..., 0].size).reshape(known.shape[:2])[..., None] * BINS + place)[known]
    return np.bincount(bin_, minlength=known[..., 0].size * BINS).reshape(*known.shape[:2], BINS).astype(float)


def spread(count: int, wanted: int) -> list[int]:
    """Returns so many places among the first `count` ones, at even distances; all where there are no more.

    >>> spread(10, 4)
    [0, 3, 6, 9]
    """
    if wanted >= count:
        return list(range(count))
    return sorted({round(place) for place in np.linspace(0, count - 1, max(wanted, 1)).tolist()})


def half_and_half(count: int, wanted: int) -> Ints:
    """Returns places in an order by drift: half of them the first ones, the other half at even ranks of the rest."""
    top = min(count, (wanted + 1) // 2)
    rest = spread(count - top, wanted - top) if wanted > top and count > top else []
    return np.array([*range(top), *(top + place for place in rest)], np.int64)
