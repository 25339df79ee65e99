"""Which files of a run are missing: those that the manifest counts, and windows between others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from icshift.runs.format import WINDOWS, Window
from icshift.runs.parts import parts_in

FILES = "files"
"""The entry of a manifest that says how many windows its process has in files, and how many files in each of the other
folders. Older runs have none."""

_LISTED = 8


def missing(
    path: Path, manifests: Mapping[int, Mapping[str, Any]], windows: Sequence[Window], written: Mapping[int, int]
) -> tuple[str, ...]:
    """Returns in sentences what is missing of the run at a path: `manifests` by rank, the `windows` there are, and how
    many of them lie in the files of each rank.

    While a recording goes on files come, and provisional windows are joined: then fewer is what is missing, and where
    windows are provisional, or of several processes, only all of them.
    """
    finished = all(manifest["finished"] for manifest in manifests.values())
    comes = not finished and (manifests[0]["ranks"] > 1 or any(window.provisional for window in windows))
    counted = () if comes and windows else _counted(path, manifests, written, finished=finished)
    if counted or comes:
        return counted
    return _between(windows, [gap for manifest in manifests.values() for gap in manifest.get("gaps", ())])


def _counted(
    path: Path, manifests: Mapping[int, Mapping[str, Any]], written: Mapping[int, int], *, finished: bool
) -> tuple[str, ...]:
    """Returns a sentence for each folder with fewer files than the manifests count, of a finished run also with more.

    Of a run that is not finished only the windows are looked at: segments are thinned and deleted.
    """
    told = []
    ranks = manifests[0]["ranks"]
    for rank, manifest in manifests.items():
        for folder, count in manifest.get(FILES, {}).items():
            if not finished and folder != WINDOWS:
                continue
            there, what = written.get(rank, 0), "windows"
            if folder != WINDOWS:
                there, what = sum(part.rank == rank for part in parts_in(path / folder, ranks)), "files"
            where = f"{folder}/" + (f" of process {rank}" if ranks > 1 else "")
            if there < count:
                are = "is" if count - there == 1 else "are"
                told.append(f"{count - there:,} of the {count:,} {what} in {where} {are} missing.")
            elif there > count and finished:
                told.append(f"There are {there:,} {what} in {where}, and {count:,} were written.")
    return tuple(told)


def _between(windows: Sequence[Window], gaps: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns a sentence that names the windows that should be before, and between, those that are there."""
    lost = list(range(1, windows[0].index))[:_LISTED] if windows else []
    for before, after in pairwise(windows):
        known = any(gap["first_step"] <= after.first_step and gap["last_step"] >= before.last_step for gap in gaps)
        lost += [] if known else list(range(before.index + 1, min(after.index, before.index + 1 + _LISTED)))
    named = ", ".join(map(str, lost[:_LISTED])) + (", …" if len(lost) > _LISTED else "")
    what, are = ("Window", "is") if len(lost) == 1 else ("Windows", "are")
    return (f"{what} {named} {are} missing, with later ones there.",) if lost else ()
