"""Windows of several processes that were merged once and for all: what `icshift merge` keeps beside those of the ranks.

The files in `merged/` are those that one process would have written in `windows/`, of one window or of several. The
`origin` of each window is a digest of the files that it was made of, and it is read in their place as long as these are
the same: merging never changes a number, whether it ended, was killed, or is out of date. Since that holds of each
window wherever it lies, two who merge at once are not in each other's way: what is there twice is the same twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from icshift.runs import sealed
from icshift.runs.format import MERGED
from icshift.runs.parts import Part, Place, part_of
from icshift.runs.window_file import ChangedError, windows_of

MADE_OF = b"icshift_merged_from"
"""The key under which older versions, whose files are of one window each, have its `origin`."""

_OLDER = re.compile(r"([0-9]+)\.parquet")

_END = 1 << 16
"""Bytes at the end of a file that tell it from others of its name and size: its footer, with the place, the bounds and
the checksums of all that it holds."""

_SETTLED = 2_000_000_000
"""Nanoseconds after which no name in a folder can have changed without the time of its last change."""


@dataclass(frozen=True)
class MergedFile:
    """A file of merged windows, and where each is in it, by its number; there is none in a damaged file."""

    part: Part
    windows: Mapping[int, Place]


class Merged:
    """What lies in `merged/` of the run at a path, looked at anew where it has changed."""

    def __init__(self, path: Path) -> None:
        self.folder = path / MERGED
        self._looked: int | None = None
        """When the folder had changed last, as far as is known."""
        self._files: dict[Path, tuple[tuple[int, ...], MergedFile]] = {}

    def found(self, index: int, places: Sequence[Place]) -> Place | None:
        """Returns where a window is as it was merged of these files; None where it was not, or they changed."""
        kept = [file.windows[index] for file in self.files() if index in file.windows]
        try:
            made_of = digest(places) if kept else ""
        except (OSError, ChangedError):
            return None
        return next((place for place in kept if place.origin == made_of), None)

    def files(self) -> list[MergedFile]:
        """Returns the files that are there, in the order of their first windows and, of these, the longest first."""
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed != self._looked:
                self._files = dict(filter(None, map(self._look, self.folder.iterdir())))
                self._looked = changed if time.time_ns() - changed > _SETTLED else None
        except OSError:
            return []
        return sorted((file for _, file in self._files.values()), key=lambda file: (file.part.first, -file.part.last))

    def _look(self, path: Path) -> tuple[Path, tuple[tuple[int, ...], MergedFile]] | None:
        older = _OLDER.fullmatch(path.name)
        part = Part(0, int(older[1]), int(older[1]), path) if older else part_of(path)
        if part is None:
            return None
        try:
            stat = path.stat()
        except OSError:  # Just now put together with others.
            return None
        stamp = stat.st_ino, stat.st_size, stat.st_mtime_ns
        stamped, file = self._files.get(path, ((), MergedFile(part, {})))
        return path, (stamp, file if stamped == stamp else MergedFile(part, _windows(part)))


def _windows(part: Part) -> dict[int, Place]:
    try:
        footer = sealed.footer(part.path)
        metadata = footer.metadata or {}
        filed = windows_of(part, metadata, footer.num_rows)
        made_of = metadata[MADE_OF].decode() if MADE_OF in metadata else None
    except (OSError, ValueError, LookupError, TypeError):  # It is merged anew, which needs nothing of it.
        return {}
    return {window.index: replace(place, origin=place.origin or made_of) for window, place in filed}


def digest(places: Sequence[Place]) -> str:
    """Returns a digest of where windows are or, those that were put into one file with others, were at first.

    Raises `ChangedError` where a file is gone, and `OSError` where one cannot be read.
    """
    try:
        told = sorted((place.file.name, place.origin or origin(place.file)) for place in places)
    except FileNotFoundError as error:
        raise ChangedError(f"{error.filename} was there a moment ago: the run is being recorded, or deleted") from error
    return sha256(" ".join(one for _, one in told).encode()).hexdigest()


def origin(file: Path) -> str:
    """Returns a digest of the name, the size and the end of a file, by which it is known from others."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(size - _END, 0))
        return sha256(f"{file.name} {size} ".encode() + opened.read(_END)).hexdigest()
