"""The first lines of a report: what moved, since when, and what cannot be told, in sentences that hold in 95 of 100."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from icshift.noise.movement import DEPENDENT, FAR
from icshift.reports.tables import number, share, site_named

if TYPE_CHECKING:
    import pandas as pd

    from icshift.analysis.metrics import Metric
    from icshift.analysis.outcome import Outcome
    from icshift.noise.dependence import Dependence

_NAMED = 4
"""Sites that are named in a sentence; of more, these and the number of the rest."""


def verdict(outcome: Outcome, summary: pd.DataFrame, metric: Metric) -> list[str]:
    """Returns one sentence or more for what moved, what shows no sign of it, and what cannot be told.

    `summary` is the table of `analysis.by_site.summary`, of the same window.
    """
    compared = summary.dropna(subset=["window"])
    noiseless = bool(compared["noiseless"].all())
    beyond = "beyond the sketch's error" if noiseless else "beyond noise"
    sites = len(outcome.moved) + len(outcome.still) + sum(map(len, outcome.unknown.values()))
    last = str(compared["name"].iloc[-1])
    sentences = []
    if outcome.moved:
        largest = _largest(compared[compared["site"].isin(outcome.moved)], metric, len(outcome.moved))
        sentences.append(f"Moved {beyond}: {_share(outcome.moved, sites)}{largest}.{_since(outcome, last)}")
    if outcome.still and outcome.moved:
        sentences.append(f"No evidence that {_named(outcome.still)} moved.")
    elif outcome.still:
        sentences.append(f"No evidence that {_of_all(outcome.still, sites)} moved {beyond}.")
    for reason, unknown in outcome.unknown.items():
        why = reason + (f" ({correlation(outcome.dependence)})" if reason == DEPENDENT else "")
        sentences.append(f"Whether {_of_all(unknown, sites)} moved cannot be told: {why}.")
    if outcome.dependence.large:
        sentences.append(f"Noise is larger than the floor, so that a site has to drift {FAR:.0f} times as far.")
    elif not outcome.dependence.clear and outcome.moved and not noiseless:
        sentences.append(
            f"{outcome.dependence.blocks} blocks of steps hardly tell whether steps depend on each other: in slowly "
            "changing data this may be noise."
        )
    if outcome.same_examples and outcome.still and not noiseless:
        sentences.append(
            "Both windows saw the same examples: noise is less than the floor, small movements are missed."
        )
    return sentences


def correlation(dependence: Dependence) -> str:
    """Returns in words how much blocks of steps depend on each other."""
    steps = f"blocks of {dependence.steps:.0f} steps" if dependence.steps >= 1.5 else "steps"
    return f"neighbouring {steps} correlate by {dependence.first:.2f}, every second by {dependence.second:.2f}"


def _since(outcome: Outcome, last: str) -> str:
    if outcome.since == last:
        return ""
    return f" In every window{'' if outcome.always else f' since {outcome.since}'} some site moved."


def _largest(moved: pd.DataFrame, metric: Metric, of: int) -> str:
    by = "ratio" if moved["ratio"].notna().any() else "drift"
    if not moved[by].notna().any():
        return ""
    row = moved.sort_values(by, ascending=False).iloc[0]
    multiple = f" or {row['ratio']:.1f} times its floor" if math.isfinite(row["ratio"]) else ""
    unit = "" if metric.unit in ("share", "0 to 1") else f" {metric.unit}"
    name = f"{'most ' * (len(moved) == of)}{site_named(row['site'])}: " if of > 1 else ""
    least = "at least " if row["moved_untold"] else ""
    units = (
        f"{least}{share(row['moved'])} of its units, " if metric.of == "unit" and math.isfinite(row["moved"]) else ""
    )
    return f"; {name}{units}{'median ' * (metric.of == 'unit')}{number(row['drift'])}{unit}{multiple}"


def _share(moved: Sequence[str], sites: int) -> str:
    if len(moved) == sites:
        return f"all {sites} sites" if sites > 1 else site_named(moved[0])
    return (
        f"{len(moved)} of {sites} sites ({_named(moved)})"
        if len(moved) > 1
        else f"{site_named(moved[0])}, of {sites} sites"
    )


def _of_all(sites: Sequence[str], of: int) -> str:
    return (f"any of {of} sites" if of > 1 else site_named(sites[0])) if len(sites) == of else _named(sites, "or")


def _named(sites: Sequence[str], word: str = "and") -> str:
    names = [site_named(site) for site in sites]
    if len(names) > _NAMED:
        return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} more"
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
