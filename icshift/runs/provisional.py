"""Provisional windows: those of a run of which nobody says how long its windows are, or did not yet.

A recorder begins with windows of one step and, whenever there are many, joins every two neighbours. It replaces their
files one by one, so that a reader may find files of which another one already holds the steps: they are left aside.
Each process of a distributed training joins its own, and may be one joining behind the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from icshift.distribution import Distribution
from icshift.runs.format import Window
from icshift.runs.merging import merged_inputs
from icshift.runs.phases import is_probe
from icshift.runs.window_file import Filed


def joined_windows(first: Window, following: Window) -> Window:
    """Returns the window that two neighbours are together, under the number and name of the first.

    How far the parameters moved in both does not follow from how far they moved in each.
    """
    return replace(
        first,
        last_step=following.last_step,
        closed=following.closed,
        parameter_change=None,
        inputs=merged_inputs([first.inputs, following.inputs]),
        left_out=first.left_out + following.left_out,
    )


def followed(first: Distribution, following: Distribution) -> Distribution:
    """Returns the distribution of a window that was recorded in two parts, of the first and of what followed.

    It is that of both together, but that their blocks of steps follow one another.
    """
    both = first.merge(following)
    if first.blocks is None or following.blocks is None:
        return both
    return replace(both, blocks=first.blocks.followed_by(following.blocks))


def joined_distributions(
    first: Mapping[tuple[str, str], Distribution], following: Mapping[tuple[str, str], Distribution]
) -> dict[tuple[str, str], Distribution]:
    """Returns the distributions, by phase and site, of two neighbours together.

    A probe shows where its window ended: it is that of the second.
    """
    result = {key: part for key, part in first.items() if not is_probe(key[0])}
    for key, part in following.items():
        result[key] = followed(result[key], part) if key in result else part
    return result


def standing(files: Sequence[Filed]) -> list[Filed]:
    """Returns, of the files of one process in order, those that are not joined into another one already."""
    kept: list[Filed] = []
    for window, place in files:
        if window.provisional and any(_holds(before, window) for before, _ in kept):
            continue
        kept.append((window, place))
    return kept


def _holds(whole: Window, part: Window) -> bool:
    return whole.first_step <= part.first_step and part.last_step <= whole.last_step


def by_window(files: Mapping[int, Sequence[Filed]]) -> dict[int, dict[int, list[Filed]]]:
    """Returns the files of every window of a run, by its number and by rank, in order: `files` are the standing ones.

    Where the processes' provisional windows differ in length, those of a run are the longest of them.
    """
    found: dict[int, dict[int, list[Filed]]] = {}
    for rank, own in files.items():
        for window, place in own:
            if not window.provisional:
                found.setdefault(window.index, {}).setdefault(rank, []).append((window, place))
    starts = {index: min(parts[0][0].first_step for parts in ranks.values()) for index, ranks in found.items()}
    provisional = {rank: [w for w, _ in own if w.provisional] for rank, own in files.items()}
    longest = max(provisional, key=lambda rank: max(map(_steps, provisional[rank]), default=-1), default=0)
    last = max((parts[0][0].last_step for ranks in found.values() for parts in ranks.values()), default=-1)
    for window in provisional.get(longest, []):
        if window.first_step > last:
            starts[max(starts, default=0) + 1] = window.first_step
    numbers = sorted(starts)
    edges = np.array([starts[number] for number in numbers])
    for rank, own in files.items():
        for window, place in own:
            if window.provisional:
                within = max(int(np.searchsorted(edges, window.first_step, side="right")) - 1, 0)
                found.setdefault(numbers[within], {}).setdefault(rank, []).append((window, place))
    return dict(sorted(found.items()))


def _steps(window: Window) -> int:
    return window.last_step - window.first_step + 1
