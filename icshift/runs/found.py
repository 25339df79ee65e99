"""The runs below a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from icshift.errors import RunError
from icshift.runs.format import CHILD, MANIFEST, is_run

_DEEPEST = 32
"""Directories within directories that are looked through."""


def runs_below(folder: Path) -> list[Path]:
    """Returns the runs at a directory and below it, in order of their paths.

    Links to directories are not followed, and what lies within a run is not looked through, but for the runs of
    processes that its script started. Raises `RunError` where there is no such directory, or no run in it.
    """
    if not folder.is_dir():
        raise RunError(f"no such directory: {folder}")
    found = sorted(_below(folder, 0))
    if not found:
        raise RunError(f"there is no run in {folder} or below it: give a directory that recordings were made in")
    return found


def _below(folder: Path, depth: int) -> Iterator[Path]:
    within_run = (folder / MANIFEST).is_file() and is_run(folder)
    if within_run:
        yield folder
    try:
        with os.scandir(folder) as entries:
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # Somebody else's, or just now deleted.
        return
    for name in folders:
        if depth < _DEEPEST and not name.startswith(".") and (not within_run or name.startswith(CHILD)):
            yield from _below(folder / name, depth + 1)
