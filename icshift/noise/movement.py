"""What moved beyond noise in one window: which sites, and which of their units.

All sites that are compared in a window are judged together, under the same exchanges of blocks (`exchange.py`): a site
is called where its statistic is beyond what the largest of all sites reaches by noise in 95 of 100 exchanges, step by
step from the largest down (Westfall & Young 1993, step-down maximum). So at most 5 % of windows in which nothing moved
show any site, whatever the number of sites and however they and their units depend on each other. The statistic of a
site is the mean of its units' drifts or the largest of them, whichever stands out more: all moved a little, or one
much.

Units are told apart only within sites that are called, by Benjamini & Hochberg (1995): of the units called there, 5 %
are expected to be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from icshift.blocks import Blocks, Floats
from icshift.noise.compared import Compared, compared
from icshift.noise.dependence import BlockProducts, Dependence
from icshift.noise.drifts import POOLED, Flags
from icshift.noise.exchange import FEWEST, differences, matched, matching, noise, patterns

FALSE_ALARMS = 0.05
"""Share of windows in which nothing moved that show a site as moved all the same, at most; and the expected share of
wrong ones among the units called within a site."""

DEPENDENT = "steps depend on each other"
"""Why nothing can be told of sites whose blocks are too much like their neighbours."""

FAR = 6.0
"""Where steps depend on each other, a site moved if half of its units drifted so many times their floor.

Of data that follow an autoregression of 0.9 a step, 16 to 64 steps a window, frozen networks went farther in 1 to 3 %
of reports (`benchmarks/calibration.py`). Data that wander without end can go any distance: then the stream has moved.
"""

UNTOLD_UNITS = "are seen or active in too few steps, or vary too little beside their mean, to tell"
"""Why nothing can be told of some units of a site that is judged."""

_COARSE = "its units vary too little beside their mean: noise is lost in the rounding of what is kept"

_SELDOM = "one window is much longer, and its units are too seldom active to compare their means"

UNKNOWN_DEPENDENCE = Dependence(np.nan, np.nan, False, np.nan, 0)


@dataclass(frozen=True, eq=False)
class Movement:
    """What moved beyond noise in one window, by the name of the site.

    `called` are the sites that moved, in the order in which they were compared. `p` is the probability that noise alone
    makes any site stand out as much, `moved` [units] marks the units that moved and `told` [units] those of which it
    can be told; all three lack the sites of which nothing can be told: `unknown` says why. `dependence` says how much
    the steps depend on each other.
    """

    called: tuple[str, ...]
    p: dict[str, float]
    moved: dict[str, Flags]
    told: dict[str, Flags]
    unknown: dict[str, str]
    dependence: Dependence

    def share(self, site: str) -> float:
        """Returns the share of a site's units that moved; NaN where that is not known.

        At least one unit of a site that is called moved, also where it cannot be told which. The share is the least
        that it can be where units are `untold`.
        """
        if site not in self.moved:
            return np.nan
        units = self.moved[site]
        return max(int(units.sum()), int(site in self.called)) / max(len(units), 1)

    def untold(self, site: str) -> int:
        """Returns of how many units it cannot be told whether they moved, within a site of which it can; else 0."""
        return int((~self.told[site]).sum()) if site in self.told else 0

    def untold_of(self, lost: Mapping[str, Flags]) -> Movement:
        """Returns the same with nothing told of some units [units] of each site, but of those that moved."""
        told = dict(self.told)
        for name in told.keys() & lost.keys():
            told[name] = told[name] & (self.moved[name] | ~lost[name])
        none = {name for name, units in told.items() if self.told[name].any() and not units.any()} - {*self.called}
        return replace(
            self,
            p={name: p for name, p in self.p.items() if name not in none},
            moved={name: units for name, units in self.moved.items() if name not in none},
            told={name: units for name, units in told.items() if name not in none},
            unknown=self.unknown | dict.fromkeys(none, _COARSE),
        )


@dataclass(frozen=True, eq=False)
class _Judged:
    """What is known of the sites of a window before their units: `far` is which of these drifted far where steps depend
    on each other, None where they do not."""

    called: tuple[str, ...]
    p: dict[str, float]
    sites: dict[str, Compared]
    far: dict[str, Flags] | None
    unknown: dict[str, str]
    dependence: Dependence


Windows: TypeAlias = Mapping[str, tuple[Blocks | None, Blocks | None]]
"""The blocks of two windows of every site, by its name."""


def movement(windows: Windows, level: float = FALSE_ALARMS) -> Movement:
    """Returns what moved between two windows of all sites.

    `level` takes the place of `FALSE_ALARMS` at the level of sites.
    """
    judged = _judged(windows, level, POOLED)
    moved = {}
    for name, p in judged.p.items():
        own = judged.sites[name].own
        assert own is not None
        moved[name] = discoveries(own) if p <= level else np.zeros(len(own), bool)
        if judged.far is not None:
            moved[name] &= judged.far[name]
    told = {name: judged.sites[name].told for name in moved}
    return Movement(judged.called, judged.p, moved, told, judged.unknown, judged.dependence)


def called(windows: Windows, level: float = FALSE_ALARMS) -> tuple[str, ...]:
    """Returns which sites `movement` calls: half the work, since their units are not looked at."""
    return _judged(windows, level, 0).called


def _judged(windows: Windows, level: float, pool: int) -> _Judged:
    """Returns what is known of sites; of their units what is compared with so many patterns of all of a site."""
    unknown = {name: _why_unknown(*pair) for name, pair in windows.items() if matching(*pair) is None}
    known = [name for name in windows if name not in unknown]
    if not known:
        return _Judged((), {}, {}, None, unknown, UNKNOWN_DEPENDENCE)
    products = _products([windows[name] for name in known])
    # Sites that some steps do not reach may have fewer blocks than others: each number of blocks has its own patterns,
    # and the levels of the groups add up to that of the window.
    groups: dict[int, dict[str, Compared]] = {}
    for name in known:
        a, b = windows[name]
        count = matching(a, b)
        assert a is not None
        assert b is not None
        assert count is not None
        site = compared(a, b, count, products, pool)
        if len(site.told) and not site.told.any() and not site.seldom:
            unknown[name] = _COARSE if site.coarse else f"no unit is finite in {FEWEST} blocks of both windows"
        elif site.seldom and not site.differs:
            unknown[name] = _SELDOM
        else:
            groups.setdefault(count, {})[name] = site
    p: dict[str, float] = {}
    for count, group in groups.items():
        if len(groups) / len(patterns(count)) > level:
            unknown |= dict.fromkeys(group, f"{count} blocks of steps are too few to tell at a level of {level:.2g}")
            continue
        for name, probability in _stepped_down({name: site.statistic for name, site in group.items()}).items():
            p[name] = min(1.0, probability * len(groups))
    dependence, far = products.dependence(), None
    if dependence.large:
        far = {name: _times_floor(*windows[name]) >= FAR for name in p}
        told = [name for name in p if p[name] <= level and far[name].mean() >= 0.5]
        unknown |= {name: DEPENDENT for name in p if name not in told}
        p = {name: p[name] for name in told}
    sites = {name: site for group in groups.values() for name, site in group.items()}
    return _Judged(tuple(name for name in known if p.get(name, 1.0) <= level), p, sites, far, unknown, dependence)


def _times_floor(a: Blocks | None, b: Blocks | None) -> Floats:
    """Returns how many times its floor each unit of blocks that match drifted [units], 0 for units without any."""
    pair = matched(a, b)
    assert pair is not None
    apart = differences(*pair)
    floors = np.sqrt(np.mean(noise(apart).distance ** 2, axis=0))
    return np.divide(np.abs(apart.slices.sum(0)).mean(1), floors, out=np.zeros(len(floors)), where=floors > 0)


def discoveries(p: Floats) -> Flags:
    """Returns which units are called moved, at most `FALSE_ALARMS` of them wrongly; units of NaN never are.

    The procedure is that of Benjamini & Hochberg (1995).
    """
    called = np.zeros(len(p), bool)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    small = p[order] <= FALSE_ALARMS * np.arange(1, len(order) + 1) / max(len(order), 1)
    if small.any():
        called[order[: np.flatnonzero(small)[-1] + 1]] = True
    return called


def _stepped_down(statistics: Mapping[str, Floats]) -> dict[str, float]:
    """Returns, for every site, the probability that any of the sites not before it reaches as much by noise."""
    names = sorted(statistics, key=lambda name: -statistics[name][0])
    left = np.array([statistics[name] for name in names])
    largest = np.maximum.accumulate(left[::-1], axis=0)[::-1]
    reached = [float(np.mean(largest[place] >= left[place][0] - 1e-9)) for place in range(len(names))]
    return dict(zip(names, np.maximum.accumulate(reached).tolist(), strict=True))


def _products(windows: list[tuple[Blocks | None, Blocks | None]]) -> BlockProducts:
    """Returns what dependence is told by, still without any site: of the finest blocks that most windows have."""
    both = [(a, b) for a, b in windows if a is not None and b is not None]
    count = int(np.median([min(len(a), len(b)) for a, b in both]))
    return BlockProducts(count, float(np.median([b.steps.sum() for _, b in both])) / count)


def _why_unknown(a: Blocks | None, b: Blocks | None) -> str:
    if a is None or b is None:
        return "one of the windows is of a probe, the other is not"
    fewest = min(int(blocks.steps.sum()) for blocks in (a, b))
    if not fewest:
        return "no blocks of steps were kept: an older version recorded them"
    return f"a window of {fewest} step{'s' * (fewest > 1)}: it takes {FEWEST}"
