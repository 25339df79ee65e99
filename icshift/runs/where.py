"""Where the windows of a run are: in which file of which process, and in which of its rows.

Files are put together while a run is recorded, so that one which was there a moment ago may be gone: what it held is in
another one then, which is found by looking again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from icshift.errors import RunError
from icshift.runs.format import WINDOWS
from icshift.runs.parts import Place, parts_in
from icshift.runs.provisional import by_window, standing
from icshift.runs.window_file import ChangedError, Filed, windows_in

_ATTEMPTS = 20
"""So often a run is read whose windows are joined, or put into one file, meanwhile: that takes less than a second."""

T = TypeVar("T")


@dataclass(frozen=True)
class Where:
    """`windows`: by the number of a window and by rank, its parts in order. `written`: how many windows lie in the
    files of each rank, of all that are there."""

    windows: Mapping[int, Mapping[int, Sequence[Filed]]]
    written: Mapping[int, int]

    def of(self, known: Where) -> Where:
        """Returns where those windows are now of which it was known before.

        Raises `ChangedError` where one is gone, or another one has its number.
        """
        for index, ranks in known.windows.items():
            if _steps(self.windows.get(index, {})) != _steps(ranks):
                raise ChangedError(f"window {index} was there a moment ago: the run is being recorded, or deleted")
        return Where({index: self.windows[index] for index in known.windows}, self.written)

    def places(self, index: int) -> list[Place]:
        """Returns the places of all that there is of a window."""
        return [place for filed in self.windows[index].values() for _, place in filed]

    def place(self, index: int, rank: int) -> Place | None:
        """Returns the place of all that a process has of a window, if that is one, and stays as it is."""
        (window, place), *more = self.windows[index][rank]
        return place if window.closed and not window.provisional and not more else None

    def of_all(self, ranks: int) -> Where:
        """Returns the windows of which each of so many processes has its part."""
        return Where({index: parts for index, parts in self.windows.items() if len(parts) == ranks}, self.written)


def find(path: Path, ids: Sequence[str | None]) -> Where:
    """Returns where the windows of the run at a path are; `ids` are of the ranks that it counts.

    Raises `ChangedError` where files were put together meanwhile, and `RunError` where one is damaged.
    """
    listed = parts_in(path / WINDOWS, len(ids))
    filed: dict[int, list[Filed]] = {}
    for part in listed:
        filed.setdefault(part.rank, []).extend(windows_in(part, ids[part.rank]))
    _refuse_twice(filed)
    # A file may come behind the place where a directory is being listed, and what it replaces go before it.
    if {part for part in parts_in(path / WINDOWS, len(ids)) if part.first < part.last} - set(listed):
        raise ChangedError(f"files of {path} are being put together just now: try again")
    windows = by_window({rank: standing(files) for rank, files in filed.items()})
    return Where(windows, {rank: len(files) for rank, files in filed.items()})


def insisting(read: Callable[[], T], look_again: Callable[[], object] = lambda: None) -> T:
    """Returns what `read` does: where files are replaced meanwhile it is called again, `look_again` before it."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return read()
        except ChangedError:
            look_again()
    return read()


def _refuse_twice(filed: Mapping[int, Sequence[Filed]]) -> None:
    for files in filed.values():
        names: dict[int, str] = {}
        for window, place in files:
            if window.index in names:
                told = f"{place.file} holds window {window.index}, as {names[window.index]} does: delete one of them"
                raise RunError(told)
            names[window.index] = place.file.name


def _steps(ranks: Mapping[int, Sequence[Filed]]) -> dict[int, list[tuple[int, int]]]:
    return {rank: [(window.first_step, window.last_step) for window, _ in files] for rank, files in ranks.items()}
