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
from dataclasses import dataclass

import numpy as np

from icshift.blocks import Blocks, Floats
from icshift.noise.dependence import BlockProducts, Dependence
from icshift.noise.drifts import Drifts, Flags, drifts
from icshift.noise.exchange import FEWEST, Differences, alike, differences, matched, matching, noise, patterns

FALSE_ALARMS = 0.05
"""Share of windows in which nothing moved that show a site as moved all the same, at most; and the expected share of
wrong ones among the units called within a site."""

_FEWEST_NONZERO = 8
"""Values other than 0 that blocks have on average where means are compared of more and of fewer values: a mean of fewer
is skewed, and a sum of exchanges that are not as likely either way is no noise."""

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


def movement(windows: Mapping[str, tuple[Blocks | None, Blocks | None]], level: float = FALSE_ALARMS) -> Movement:
    """Returns what moved between two windows of all sites, given the blocks of each by the name of the site.

    `level` takes the place of `FALSE_ALARMS` at the level of sites.
    """
    unknown = {name: _why_unknown(*pair) for name, pair in windows.items() if matching(*pair) is None}
    known = [name for name in windows if name not in unknown]
    if not known:
        return Movement((), {}, {}, {}, unknown, UNKNOWN_DEPENDENCE)
    products = _products([windows[name] for name in known])
    # Sites that some steps do not reach may have fewer blocks than others: each number of blocks has its own patterns,
    # and the levels of the groups add up to that of the window.
    p: dict[str, float] = {}
    moved: dict[str, Flags] = {}
    judged: dict[str, Flags] = {}
    groups: dict[int, dict[str, Drifts]] = {}
    for name in known:
        a, b = windows[name]
        count = matching(a, b)
        assert a is not None
        assert b is not None
        assert count is not None
        apart = differences(a, b, count)
        _add(products, apart, a, b)
        # Of blocks that are not alike means alone are compared, of units that have enough values for these.
        similar = alike(a, b, count)
        even = np.ones(len(apart.known), bool) if similar else _even(a, count) & _even(b, count) | _still(apart)
        site = drifts(apart.slices if similar else apart.means[:, :, None], apart.known & even)
        judged[name] = np.isfinite(site.own)
        seldom = bool((apart.known & ~even).any())
        if len(site.own) and not judged[name].any() and not seldom:
            unseen = f"no unit is finite in {FEWEST} blocks of both windows"
            unknown[name] = _COARSE if apart.coarse.any() else unseen
        elif seldom and not site.differs:
            unknown[name] = _SELDOM
        else:
            groups.setdefault(len(apart.slices), {})[name] = site
    for count, group in groups.items():
        if len(groups) / len(patterns(count)) > level:
            unknown |= dict.fromkeys(group, f"{count} blocks of steps are too few to tell at a level of {level:.2g}")
            continue
        for name, probability in _stepped_down({name: site.statistic for name, site in group.items()}).items():
            p[name] = min(1.0, probability * len(groups))
            own = group[name].own
            moved[name] = discoveries(own) if p[name] <= level else np.zeros(len(own), bool)
    dependence = products.dependence()
    if dependence.large:
        far = {name: _times_floor(*windows[name]) >= FAR for name in p}
        told = [name for name in p if p[name] <= level and far[name].mean() >= 0.5]
        unknown |= {name: DEPENDENT for name in p if name not in told}
        p, moved = {name: p[name] for name in told}, {name: moved[name] & far[name] for name in told}
    called = tuple(name for name in known if p.get(name, 1.0) <= level)
    return Movement(called, p, moved, {name: judged[name] for name in moved}, unknown, dependence)


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


def _even(blocks: Blocks, count: int) -> Flags:
    """Returns which units [units] have enough values other than 0 in one of so many blocks for its mean to be as good
    as normal."""
    sampled, zeros = blocks.sizes(count)
    return np.asarray((sampled - zeros).mean(1) >= _FEWEST_NONZERO)


def _still(apart: Differences) -> Flags:
    """Returns the units [units] of which no block differs, as dead ones: whatever their distribution is, they stand
    still."""
    return np.asarray(~apart.slices.any((0, 2)))


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


def _add(products: BlockProducts, apart: Differences, a: Blocks, b: Blocks) -> None:
    """Take in a site, `apart` being the differences of blocks that can be exchanged: fewer, where they are of steps."""
    if min(len(a), len(b)) < products.blocks:
        return
    same = len(apart.slices) == products.blocks
    products.add(apart if same else differences(a, b, products.blocks))


def _why_unknown(a: Blocks | None, b: Blocks | None) -> str:
    if a is None or b is None:
        return "one of the windows is of a probe, the other is not"
    fewest = min(int(blocks.steps.sum()) for blocks in (a, b))
    if not fewest:
        return "no blocks of steps were kept: an older version recorded them"
    return f"a window of {fewest} step{'s' * (fewest > 1)}: it takes {FEWEST}"
