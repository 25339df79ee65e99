"""The files that lie in a folder of a run: what their names say, and which of them stand.

A file is named after the number of what it holds, a window or a segment of a series: `000005.rank0.parquet`. One that
several were put into is named after the first and the last of them: `000001-000016.rank0.parquet`. It takes the place
of all files of its process whose numbers lie within its own: where one of these is there too, a process was killed, or
is, between putting the whole in place and deleting what it was made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icshift.runs.format import PART_NAME


@dataclass(frozen=True, order=True)
class Part:
    """A file with what the numbers `first` to `last` stand for, written by process `rank`."""

    rank: int
    first: int
    last: int
    path: Path

    def holds(self, other: Part) -> bool:
        """Whether it takes the place of another file."""
        numbers, others = (self.first, self.last), (other.first, other.last)
        within = self.first <= other.first and other.last <= self.last
        return self.rank == other.rank and within and numbers != others


@dataclass(frozen=True)
class Place:
    """Where a window of one process is: the rows `start` to `stop` (excluded) of a file, of all windows in it in order.

    `stop` is None where it is alone in its file. `phases` are those that it has rows of, None where the file does not
    say. `origin` tells the file that it was written to at first (see `merged.py`), where it is in one with others;
    `among` is how many windows that holds.
    """

    file: Path
    start: int = 0
    stop: int | None = None
    phases: tuple[str, ...] | None = None
    origin: str | None = None
    among: int = 1


def part_of(path: Path) -> Part | None:
    """Returns what the name of a file says, None for a file that is no part of a run.

    >>> part = part_of(Path("000001-000016.rank2.parquet"))
    >>> part.rank, part.first, part.last
    (2, 1, 16)
    """
    matched = PART_NAME.fullmatch(path.name)
    if matched is None:
        return None
    first, _, last = path.name.partition(".")[0].partition("-")
    return Part(int(matched[1]), int(first), int(last or first), path)


def name_of(first: int, last: int, rank: int) -> str:
    """Returns the name of a file with what these numbers stand for.

    >>> name_of(5, 5, 0), name_of(1, 16, 0)
    ('000005.rank0.parquet', '000001-000016.rank0.parquet')
    """
    numbers = f"{first:06d}" if first == last else f"{first:06d}-{last:06d}"
    return f"{numbers}.rank{rank}.parquet"


def parts_in(folder: Path, ranks: int) -> list[Part]:
    """Returns the files of a folder that stand, of the ranks that the run counts, in order."""
    found = sorted(part for file in folder.glob("*") if (part := part_of(file)) and part.rank < ranks)
    return standing(found)


def standing(parts: Iterable[Part]) -> list[Part]:
    """Returns those of some files in whose place no other one is, in order."""
    kept: list[Part] = []
    for part in sorted(parts, key=lambda part: (part.rank, part.first, -part.last)):
        # Those before it begin no later: the one that reaches furthest holds it, or none does.
        if kept and kept[-1].holds(part):
            continue
        kept.append(part)
    return kept
