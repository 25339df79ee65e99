"""The windows of a run that is being recorded, as they land: what moved in each from the one before it.

A run is looked at again and again, and only ever read. Of each new window and the one before it the values are read; of
all others nothing, so that watching costs a long recording no more than a short one.
"""

from __future__ import annotations

import copy
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from icshift.analysis.drift import default_phase
from icshift.analysis.metrics import metric as metric_named
from icshift.analysis.windows import by_window
from icshift.runs.format import MANIFEST, Window, is_run
from icshift.runs.reader import StoredRun, locate
from icshift.runs.selection import choose
from icshift.runs.window_file import ChangedError


@dataclass(frozen=True)
class Logged:
    """The mean of the `n` numbers that a training logged under one name in a window."""

    name: str
    mean: float
    n: int


@dataclass(frozen=True, eq=False)
class Landed:
    """A window that has ended; `sites` are its rows of `windows.by_window`, none where there is none to compare with.

    `phase` is empty where the window holds nothing of the phase that is watched.
    """

    window: Window
    phase: str
    sites: pd.DataFrame
    logged: tuple[Logged, ...]


@dataclass(frozen=True, eq=False)
class Look:
    """A run at one moment, and the windows that have landed since the last look."""

    run: StoredRun
    landed: tuple[Landed, ...]


@dataclass
class Lookout:
    """Looks at one run again and again. `metric` is a name, a phase of None is the run's default one.

    Raises `SelectionError` for a metric that there is not.
    """

    path: Path
    metric: str
    phase: str | None = None
    sites: list[str] | None = None
    _created: str = ""
    _told: tuple[int, int] = (-2, 0)
    _files: frozenset[tuple[Path, int, int, int]] = field(default=frozenset())

    def __post_init__(self) -> None:
        metric_named(self.metric)

    def look(self) -> Look | None:
        """Returns the run as it is, None where nothing was written since the last look or it is just being changed.

        Raises what `StoredRun` does, and `SelectionError` for a site or, once windows are there, a phase that is not.
        """
        files = _files(self.path)
        if files == self._files:
            return None
        try:
            run = StoredRun(self.path)
            choose(run.sites, self.sites if run.sites else None)
            if run.finished and self.phase is not None and run.window_list:
                run.phase(self.phase)  # Until then it may be to come.
            if run.manifest.get("created") != self._created:  # It was begun anew.
                self._created, self._told = run.manifest.get("created", ""), (-2, 0)
            new = [one for one in run.window_list if one.closed and _key(one) > self._told]
            landed = tuple(self._landed(run, window) for window in new)
        except (ChangedError, FileNotFoundError):
            return None
        self._files = files
        if new:
            self._told = max(map(_key, new))
        return Look(run, landed)

    def _landed(self, run: StoredRun, window: Window) -> Landed:
        logged = _logged(run, window)
        here = _cut(run, [window])
        phase = default_phase(here) if self.phase is None and here.phases else self.phase or ""
        if phase not in here.phases:
            return Landed(window, "", pd.DataFrame(), logged)
        before = _before(run, window, phase)
        if before is None:
            return Landed(window, phase, pd.DataFrame(), logged)
        pair = _cut(run, [before, window])
        return Landed(window, phase, by_window(pair, metric_name=self.metric, phase=phase, sites=self.sites), logged)


def appeared(path: Path) -> Path | None:
    """Returns where the run at a path is, None where there is nothing yet. Raises `RunError` for what is no run."""
    if path.is_dir() and not (path / MANIFEST).exists() and not any(is_run(child) for child in path.iterdir()):
        return None
    return locate(path) if path.exists() else None


def last_written(path: Path) -> float:
    """Returns when a run was last written to, in seconds of the clock of files; the run may change meanwhile."""
    return max((at / 1e9 for *_, at in _files(path)), default=-math.inf)


def _files(path: Path) -> frozenset[tuple[Path, int, int, int]]:
    """What is in a run, with what changes when a file is written anew: its number, its size, and the time, in ns.

    The time alone does not tell: the clock of files ticks every few milliseconds, and several are written in between.
    """
    found = set()
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            known = file.stat()
            found.add((file, known.st_ino, known.st_size, known.st_mtime_ns))
    return frozenset(found)


def silent(path: Path) -> float:
    """Returns for how many seconds nothing was written to a run."""
    return max(time.time() - last_written(path), 0.0)


def _key(window: Window) -> tuple[int, int]:
    """What grows from window to window, also where provisional ones are joined: their numbers fall then."""
    return window.last_step, window.first_step


def _before(run: StoredRun, window: Window, phase: str) -> Window | None:
    earlier = [one for one in run.window_list if one.index < window.index]
    return next((one for one in reversed(earlier) if phase in _cut(run, [one]).phases), None)


def _cut(run: StoredRun, windows: list[Window]) -> StoredRun:
    """Returns the run as if it had these windows alone."""
    few = copy.copy(run)
    few.window_list = windows
    return few


def _logged(run: StoredRun, window: Window) -> tuple[Logged, ...]:
    rows = run.logged()
    rows = rows[rows["window"] == window.index]
    return tuple(
        Logged(str(name), float(values.mean()), len(values))
        for name, values in rows.groupby("name", sort=False)["value"]
    )
