"""How sites drift from window to window.

Windows are gone through one after another, of a few sites at a time: small sites of a window share what is read of its
file, and of these sites two windows are in memory where there are many. One sd for all windows is known once the
moments of all were read, so that this is done before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icshift.analysis import over_units
from icshift.analysis.comparison import Comparison, Comparisons
from icshift.analysis.health import typical_std
from icshift.analysis.metrics import Metric
from icshift.analysis.yardstick import Yardstick
from icshift.runs.format import Site
from icshift.runs.reader import StoredRun

_FEW = 1 << 17
"""Units, each once a window, of which all that is read stays in memory: up to some 80 MB."""


@dataclass(frozen=True)
class Trend:
    """`drifts`: the median of the units in every window that is compared, in units of sd by one sd for all of them.

    `usual` is the largest `typical_std` of all windows that have the site but the last one; 0 where there is none.
    """

    drifts: Sequence[float]
    usual: float


def trends(
    run: StoredRun, metric: Metric, phase: str, sites: Sequence[Site], compared: Mapping[str, Comparisons]
) -> dict[str, Trend]:
    """Returns the trend of each of the sites by its name, of which those that are compared have their comparisons."""
    names, windows = [site.name for site in sites], run.window_list
    few = len(windows) * sum(site.recorded for site in sites) <= _FEW
    # What is read of a distribution stays as long as somebody has it: so moments are read once.
    held = [run.distribution(phase, name, window.index) for window in windows for name in names if few]
    usual, yardsticks = _spreads(run, phase, names, compared)
    one_sd = {name: yardstick.of(metric) for name, yardstick in yardsticks.items()}
    drifts: dict[str, list[float]] = {name: [] for name in names}
    latest: dict[str, Comparison] = {}  # What the next one has in common with it is not read again.
    for window in windows:
        for name, comparisons in compared.items():
            if window.index in comparisons.numbers:
                comparison = comparisons[comparisons.numbers[window.index]]
                drifts[name].append(_typical(one_sd[name], comparison))
                latest[name] = comparison
    del held
    return {name: Trend(drifts[name], usual[name]) for name in names}


def _spreads(
    run: StoredRun, phase: str, sites: Sequence[str], compared: Mapping[str, Comparisons]
) -> tuple[dict[str, float], dict[str, Yardstick]]:
    """Returns what is `usual` of each site, and the one sd of those that are compared: all that moments tell."""
    usual, last = dict.fromkeys(sites, 0.0), dict.fromkeys(sites, 0.0)
    yardsticks = {name: Yardstick() for name in compared}
    for window in run.window_list:
        for name in sites:
            if (here := run.distribution(phase, name, window.index)) is None:
                continue
            usual[name], last[name] = max(usual[name], last[name]), typical_std(here)
            if name in compared and window.index in compared[name].numbers:
                if not yardsticks[name].windows:
                    yardsticks[name].add(compared[name][0].before)
                yardsticks[name].add(here)
    return usual, yardsticks


def _typical(metric: Metric, comparison: Comparison) -> float:
    steady = ~metric.near_constant(comparison.before, comparison.after)
    return over_units.median(np.abs(metric.function(comparison.before, comparison.after))[steady])
