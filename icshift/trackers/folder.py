"""The folder that an export for a dashboard is in: which one may be written, and which files of it are ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from icshift._version import __version__
from icshift.errors import RunError, SelectionError
from icshift.runs.owner import refuse_part_of_run

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun
    from icshift.trackers.series import Sent, Written

_T = TypeVar("_T")

MARK = "icshift-export.json"
"""Lists the files and folders of an export, as paths within its own: these and no others does a later one replace."""

Writer: TypeAlias = "Callable[[Path, StoredRun, Iterable[Sent]], Written]"
"""Writes series of a run into an empty folder, or into one that holds other things."""


def writer(tracker: str) -> Writer:
    """Returns what writes for a dashboard. Raises `SelectionError` where its package is not installed."""
    if find_spec(tracker) is None:
        raise SelectionError(f"{tracker} is not installed: pip install 'icshift[{tracker}]' installs it")
    write: Writer = import_module(f"icshift.trackers.{tracker}").write
    return write


def refuse_folder(folder: Path, *, force: bool) -> None:
    """Raises `RunError` for a folder that must not be written: one with files in it, but, with `force`, an export.

    Also for a path that is a file, or below one, and for a part of a run.
    """
    refuse_part_of_run(folder)
    above = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not above.is_dir():
        raise RunError(f"{folder} cannot be written: {above} is a file; give the path of a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not force:
        raise RunError(f"{folder} exists and is kept: choose another path, or --force to replace an export")
    if not (folder / MARK).is_file():
        raise RunError(
            f"{folder} holds no export of icshift: even with --force it is not replaced; choose another path"
        )


def write_folder(folder: Path, write: Callable[[Path], _T], *, force: bool) -> _T:
    """Makes a folder, has it written, and returns what `write` does.

    Of an export that is there its own files are deleted first. Where writing fails, what was written is deleted. Raises
    what `refuse_folder` does.
    """
    refuse_folder(folder, force=force)
    if (folder / MARK).is_file():
        _delete([*_listed(folder), folder / MARK])
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.rglob("*"))
    try:
        written = write(folder)
    except BaseException:
        _delete(set(folder.rglob("*")) - before)
        raise
    ours = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path not in before]
    (folder / MARK).write_text(json.dumps({"icshift": __version__, "files": ours}, indent=1) + "\n")
    return written


def _listed(folder: Path) -> list[Path]:
    try:
        names = [PurePosixPath(name) for name in json.loads((folder / MARK).read_text())["files"]]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{folder / MARK} cannot be read ({error}): choose another path") from error
    return [folder / name for name in names if not name.is_absolute() and ".." not in name.parts]


def _delete(paths: Iterable[Path]) -> None:
    """Deletes files, and those of the folders that are empty then; a link is a file, wherever it leads."""
    for path in sorted(paths, reverse=True):
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        elif not any(path.iterdir()):
            path.rmdir()
