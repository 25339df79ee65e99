"""A window of several processes as one: what they wrote of a site is merged when it is asked for, and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from icshift.distribution import Distribution
from icshift.runs.format import Site
from icshift.runs.merging import merged_distribution
from icshift.runs.stored import Stored

_ROWS = 1 << 10
"""Rows of one process that are read together: row groups of several small sites have as many."""

Key = tuple[str, str]


class Together(Mapping[Key, Distribution]):
    """What the processes have of a window, by phase and site; `parts` are what each has, by its file.

    Of a large site alone, or of neighbours that lie in one row group, all parts are in memory while they are merged: of
    a window of many sites, most are not. Asking raises `RunError` where parts are damaged or not of the same units.
    """

    def __init__(self, parts: Mapping[Path, Mapping[Key, Stored]], sites: Mapping[str, Site]) -> None:
        self._parts, self._sites = parts, sites
        self._made: dict[Key, Distribution] = {}
        self._neighbours: dict[Key, list[Key]] = {}
        rows = _ROWS
        for key in dict.fromkeys(key for part in parts.values() for key in part):
            if rows >= _ROWS:
                here: list[Key] = []
                rows = 0
            here.append(key)
            rows += sites[key[1]].recorded
            self._neighbours[key] = here

    def __getitem__(self, key: Key) -> Distribution:
        if key not in self._made:
            self._merge(self._neighbours[key])
        return self._made[key]

    def _merge(self, keys: list[Key]) -> None:
        found: dict[Key, dict[Path, Distribution]] = {key: {} for key in keys}
        for file, part in self._parts.items():
            for key in keys:
                if key in part:
                    found[key][file] = part[key].whole()
        for key, parts in found.items():
            self._made[key] = merged_distribution(self._sites[key[1]], parts)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._neighbours)

    def __len__(self) -> int:
        return len(self._neighbours)
