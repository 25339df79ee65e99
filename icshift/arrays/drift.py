"""How far dumped activations drifted from those of a reference, unit by unit, and what of it noise alone would show.

Rows are taken to be in the order in which they came. Each array is cut into up to 16 blocks of consecutive rows, and
what an exchange of the blocks at the same place of both shows is noise (`icshift/noise/exchange.py`), as between two
windows of a run. So rows may depend on each other within a block; where blocks do too, `dependence` says so, unless
the rows were shuffled.

What moved is judged by equally many rows of both: a mean of few skewed values is seldom where one of many is, so that
blocks of other sizes are no exchange for each other. Fewer rows find less, and are wrong no more often.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from icshift.analysis.distances import least_std
from icshift.arrays.given import Given, given
from icshift.arrays.measure import Moments, blocks_of, compared, some_of
from icshift.blocks import Blocks, Floats
from icshift.errors import SelectionError, listed, unknown
from icshift.noise.dependence import Dependence
from icshift.noise.exchange import Flags, differences, magnitude, matched, noise
from icshift.noise.movement import Movement, movement
from icshift.noise.rounding import within_rounding

if TYPE_CHECKING:
    import pandas as pd

MetricName = Literal["w1", "w1_sd"]
UNITS_OF = {"w1_sd": "sd", "w1": "activation"}
"""The metrics that there are, and the unit of each."""

_UNITS = 512
"""Units whose floors are computed at once."""

_FAR_OFF = 1e4
"""Standard deviations from zero beyond which a unit's blocks are made of its deviations from its mean."""

_ROUNDING = 1e-5
"""Noise of up to this share of a drift is rounding."""


@dataclass(frozen=True, eq=False)
class Drifted:
    """The drift of every unit of one array or more, and what moved beyond noise.

    `units` has a row a unit: `array` and `unit` (its number, with its `name` where it has one), `metric`, `value`, `n`
    (the finite values that it rests on, in the array with fewer), `floor` (what noise alone would show; NaN where that
    is not known), `error` (0: nothing is sketched), `ratio` (value / floor), `near_constant`, `moved` (None where that
    cannot be told), `nonfinite` (values left out, of both), `mean` and `sd` of the second, `reference_mean` and
    `reference_sd` of the first.

    `rows` are the numbers of rows of both, by the name of the array ("" where it has none). `called` are the arrays
    that moved beyond noise, `unknown` says why it cannot be told of others, and `dependence` how much blocks of rows
    depend on each other. `only` are names of arrays that one of the two lacks, which are left out.
    """

    units: pd.DataFrame
    metric: str
    rows: dict[str, tuple[int, int]]
    called: tuple[str, ...]
    unknown: dict[str, str]
    dependence: Dependence
    only: tuple[str, ...]


def drift(a: Any, b: Any, *, metric: MetricName = "w1_sd") -> Drifted:
    """Returns the drift of b from the reference a: arrays [rows, units], mappings of them by name, or paths.

    Raises `ModelError` for what is none of these, `SelectionError` where the two have no arrays of the same units.
    """
    import pandas as pd

    if metric not in UNITS_OF:
        raise unknown("metric of arrays", metric, UNITS_OF)
    first, second = given(a, "the first array"), given(b, "the second array")
    pairs = {name: (first.arrays[name], second.arrays[name]) for name in _common(first, second)}
    measured = {name: _measured(*pair) for name, pair in pairs.items()}
    moved = movement({name: one.judged for name, one in measured.items()})
    moved = moved.untold_of({name: one.rounded for name, one in measured.items()})
    tables = [_of_array(name, one, moved, metric, first.units.get(name)) for name, one in measured.items()]
    return Drifted(
        pd.concat(tables, ignore_index=True),
        metric,
        rows={name: (len(x), len(y)) for name, (x, y) in pairs.items()},
        called=moved.called,
        unknown={name: _by_rows(why) for name, why in moved.unknown.items()},
        dependence=moved.dependence,
        only=tuple(sorted(first.arrays.keys() ^ second.arrays.keys())),
    )


def _common(first: Given, second: Given) -> list[str]:
    """Returns the names of the arrays that both have; one array in each is a pair whatever they are called."""
    if len(first.arrays) == len(second.arrays) == 1 and first.arrays.keys() != second.arrays.keys():
        second.arrays[next(iter(first.arrays))] = second.arrays.pop(next(iter(second.arrays)))
    names = [name for name in first.arrays if name in second.arrays]
    if not names:
        has = " and ".join(f"{one.source} has {listed(map(repr, one.arrays))}" for one in (first, second))
        raise SelectionError(f"no array has the same name in both: {has}")
    for name in names:
        x, y = first.arrays[name], second.arrays[name]
        if x.shape[1] != y.shape[1]:
            what = f"array {name!r}" if name else "the array"
            raise SelectionError(
                f"{what} has {x.shape[1]:,} units in {first.source} and {y.shape[1]:,} in {second.source}: expected "
                "the same units, in the same order, on the last axis"
            )
        own, other = first.units.get(name), second.units.get(name)
        if own and other and own != other:
            place = next(i for i, (p, q) in enumerate(zip(own, other, strict=True)) if p != q)
            raise SelectionError(
                f"column {place} is {own[place]!r} in {first.source} and {other[place]!r} in {second.source}: expected "
                "the same columns, in the same order"
            )
    return names


@dataclass(frozen=True, eq=False)
class _Measured:
    """What is measured of two arrays: Wasserstein-1, the moments of both, the blocks that floors are of, and those by
    which it is `judged` what moved. `pooled` is the sd of both, `least` the least that it counts as; `rounded` marks
    constants that differ by no more than rounding, of which nothing is judged. `rows` are the numbers of rows of both
    together."""

    w1: Floats
    before: Moments
    after: Moments
    pooled: Floats
    least: float
    rounded: Flags
    blocks: tuple[Blocks, Blocks]
    judged: tuple[Blocks, Blocks]
    rows: int


def _measured(a: NDArray[Any], b: NDArray[Any]) -> _Measured:
    w1, before, after = compared(a, b)
    types = a.dtype, b.dtype
    with np.errstate(invalid="ignore", over="ignore"):
        far = (before.std > 0) & (np.abs(before.mean) > _FAR_OFF * before.std)
    if far.any():  # Blocks measure noise against the values: far from zero it would pass for rounding.
        centre = np.where(far, before.mean, 0.0)
        a, b = a - centre, b - centre
    pooled, size = _pooled(before.std, after.std), np.fmax(np.abs(before.mean), np.abs(after.mean))
    least = least_std(pooled, size)
    rounded = (pooled <= least) & within_rounding(w1, pooled, size, *types)
    blocks, fewest = (blocks_of(a), blocks_of(b)), min(len(a), len(b))
    judged = blocks if len(a) == len(b) else (blocks_of(some_of(a, fewest)), blocks_of(some_of(b, fewest)))
    judged = judged[0], _but_for(rounded, *judged)
    return _Measured(w1, before, after, pooled, least, rounded, blocks, judged, len(a) + len(b))


def _but_for(rounded: Flags, a: Blocks, b: Blocks) -> Blocks:
    """Returns blocks b in which these units are as in a: blocks are of float64, which would tell them apart."""
    if not rounded.any():
        return b
    return replace(b, slices=np.where(rounded[:, None, None], a.slices, b.slices))


def _pooled(a: Floats, b: Floats) -> Floats:
    """Returns the root of the mean of both variances, also where their squares leave the range."""
    largest = np.fmax(np.fmax(a, b), np.finfo(float).tiny)
    return np.hypot(a / largest, b / largest) / np.sqrt(2) * largest


def _of_array(name: str, of: _Measured, moved: Movement, metric: str, units: list[str] | None) -> pd.DataFrame:
    import pandas as pd

    w1, before, after = of.w1, of.before, of.after
    pooled, least = of.pooled, of.least
    scale = np.maximum(pooled, least) if metric == "w1_sd" else np.ones(len(w1))
    floors = np.where(of.rounded, np.nan, _floors(*of.blocks, w1))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(floors > 0, w1 / floors, np.nan)
    told = moved.moved.get(name, np.zeros(len(w1), bool))
    unknown = np.isnan(w1) | ~moved.told.get(name, np.zeros(len(w1), bool))
    table = {
        "array": name,
        "unit": np.arange(len(w1)),
        **({"name": units} if units else {}),
        "metric": metric,
        "value": w1 / scale,
        "n": np.minimum(before.n, after.n),
        "floor": floors / scale,
        "error": np.where(np.isnan(w1), np.nan, 0.0),
        "ratio": ratio,
        "near_constant": pooled <= least,
        "moved": pd.arrays.BooleanArray(told, unknown),
        "nonfinite": of.rows - before.n - after.n,
        "reference_mean": before.mean,
        "reference_sd": before.std,
        "mean": after.mean,
        "sd": after.std,
    }
    return pd.DataFrame(table)


def _floors(a: Blocks, b: Blocks, w1: Floats) -> Floats:
    """Returns the Wasserstein-1 distance that noise alone would show [units]; see `icshift.analysis.floor.floor`."""
    pair = matched(a, b)
    if pair is None:
        return np.full(len(w1), np.nan)
    floors = []
    for start in range(0, len(w1), _UNITS):
        here = np.arange(start, min(start + _UNITS, len(w1)))
        first, second = (one.take(here) for one in pair)
        apart = differences(first, second)
        drawn = noise(apart).distance if apart.known.any() else np.full((1, len(here)), np.nan)
        level = magnitude(drawn) / np.sqrt(len(drawn))
        rounding = _ROUNDING * np.abs(w1[here])
        floors.append(np.where(apart.known, np.where(level > rounding, level, 0.0), np.nan))
    return np.concatenate(floors)


def _by_rows(why: str) -> str:
    """What is said of windows and their steps, said of arrays and their rows."""
    return why.replace("a window of", "an array of").replace("step", "row").replace("both windows", "both arrays")
