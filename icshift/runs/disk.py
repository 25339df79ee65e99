"""Room on disk: what a run takes, and what one will take, told before it is spent.

The estimate is of two constants, which a test holds within a factor of `FACTOR` of what is written: where the format of
the files changes, they do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icshift.runs.format import Site, kept_units, units_in_steps

WINDOW_BYTES = 1250
"""Bytes of a window, a unit and phase. A window of at most 512 sampled values a unit keeps all: then it varies most."""

STEP_BYTES = 32
"""Bytes of the series of steps, a phase, step and unit that is in it."""

SERIES_BYTES = 32e6
"""Bytes of the series of steps at most: of one that grows longer, every second step is kept."""

FACTOR = 2
"""By which the estimate may be off, in either direction."""


@dataclass(frozen=True)
class Disk:
    """Bytes of a run: of its `windows`, of its `steps`, and of all files, manifest and all."""

    windows: int
    steps: int
    all: int


@dataclass(frozen=True)
class Expected:
    """Bytes that recording takes: of a `window` in one phase, and of the series of a `step`, up to `SERIES_BYTES`."""

    window: float
    step: float


def expected(sites: Iterable[Site]) -> Expected:
    """Returns what recording these sites will take, within a factor of `FACTOR`."""
    here = list(sites)
    in_windows, in_steps = (sum(len(units(site)) for site in here) for units in (kept_units, units_in_steps))
    return Expected(WINDOW_BYTES * in_windows, STEP_BYTES * in_steps)


def used(path: Path) -> Disk:
    """Returns what the run at a path takes; it may change meanwhile."""
    return Disk(*(_bytes(folder) for folder in (path / "windows", path / "steps", path)))


def in_words(size: float) -> str:
    """Returns a number of bytes in two digits or more.

    >>> [in_words(size) for size in (812, 12_400, 1_250_000, 37e6, 2.46e9)]
    ['1 kB', '12 kB', '1.2 MB', '37.0 MB', '2.5 GB']
    """
    if size < 1e6:
        return f"{max(size / 1e3, 1):.0f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:  # Just now renamed or joined.
            continue
    return total
