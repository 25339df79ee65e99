"""Windows of several processes that were merged once and for all: what `icshift merge` keeps beside those of the ranks.

`merged/000001.parquet` holds window 1 as a window of one process would be held. It names, by a digest, the files that
it was made of, and is read in their place as long as these are the same: merging never changes a number, whether it
ended, was killed, or is out of date.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from icshift.distribution import Distribution
from icshift.errors import RunError
from icshift.runs import sealed
from icshift.runs.format import MERGED, Site, Window
from icshift.runs.parts import Place
from icshift.runs.window_file import read_distributions

_MADE_OF = b"icshift_merged_from"
_END = 1 << 16
"""Bytes at the end of a file that tell it from others of its name and size: its footer, with the place, the bounds and
the checksums of all that it holds."""


def read(path: Path, index: int, places: Sequence[Place]) -> dict[tuple[str, str], Distribution] | None:
    """Returns a window of the run at a path as it was merged of these files; None where it was not, or they changed."""
    place = found(path, index, places)
    try:
        return None if place is None else read_distributions(place)
    except RunError:  # It is merged anew, which needs nothing of it.
        return None


def found(path: Path, index: int, places: Sequence[Place]) -> Place | None:
    """Returns where a window is as it was merged of these files; None where it was not, or they changed."""
    file = _file(path, index)
    try:
        made_of = sealed.footer(file).metadata[_MADE_OF].decode() if file.is_file() else None
        return Place(file) if made_of is not None and made_of == _digest(places) else None
    except (OSError, ValueError, LookupError, TypeError):  # As above.
        return None


def keep(
    path: Path, window: Window, places: Sequence[Place], distributions: Mapping[tuple[str, Site], Distribution]
) -> None:
    """Writes a merged window beside those of the ranks, whole or not at all. Raises `RunError` where it cannot."""
    from icshift.runs.window_table import row_groups, window_table

    file = _file(path, window.index)
    table = window_table(window.index, distributions)
    about = {b"icshift": json.dumps(asdict(window)).encode(), _MADE_OF: _digest(places).encode()}
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(exist_ok=True)
        content = sealed.parquet(
            table.replace_schema_metadata(about), row_groups(table), compression="lz4", use_dictionary=["phase", "site"]
        )
        aside.write_bytes(content)
        aside.replace(file)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise RunError(f"{file} cannot be written: {error.strerror or error}; the run is as it was") from error


def _file(path: Path, index: int) -> Path:
    return path / MERGED / f"{index:06d}.parquet"


def _digest(places: Sequence[Place]) -> str:
    """Returns a digest of where windows are or, those that were put into one file with others, were at first."""
    told = sorted((place.file.name, place.origin or origin(place.file)) for place in places)
    return sha256(" ".join(one for _, one in told).encode()).hexdigest()


def origin(file: Path) -> str:
    """Returns a digest of the name, the size and the end of a file, by which it is known from others."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(size - _END, 0))
        return sha256(f"{file.name} {size} ".encode() + opened.read(_END)).hexdigest()
