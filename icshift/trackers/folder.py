"""The folder that an export for a dashboard is in: which one may be written, and which files of it are ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from icshift._version import __version__
from icshift.errors import RunError, SelectionError

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun
    from icshift.trackers.series import Sent

MARK = "icshift-export.json"
"""Lists the files of an export, as paths within its folder: these and no others does a later one replace."""

Writer: TypeAlias = "Callable[[Path, StoredRun, Iterable[Sent]], None]"
"""Writes series of a run into an empty folder, or into one that holds other things."""


def writer(tracker: str) -> Writer:
    """Returns what writes for a dashboard. Raises `SelectionError` where its package is not installed."""
    try:
        write: Writer = import_module(f"icshift.trackers.{tracker}").write
    except ImportError as error:
        raise SelectionError(
            f"{tracker} cannot be imported ({error}): pip install 'icshift[{tracker}]' installs it"
        ) from error
    return write


def refuse_folder(folder: Path, *, force: bool) -> None:
    """Raises `RunError` for a folder that must not be written: one with files in it, but, with `force`, an export.

    Also for a path that is a file, or below one.
    """
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


def write_folder(folder: Path, write: Callable[[Path], None], *, force: bool) -> None:
    """Makes a folder and has it written; of an export that is there its own files are deleted first.

    Where writing fails, what was written is deleted. Raises what `refuse_folder` does.
    """
    refuse_folder(folder, force=force)
    if (folder / MARK).is_file():
        _delete(folder, _listed(folder))
    folder.mkdir(parents=True, exist_ok=True)
    before = set(_files(folder))
    try:
        write(folder)
    except BaseException:
        _delete(folder, [path for path in _files(folder) if path not in before])
        raise
    ours = [path.relative_to(folder).as_posix() for path in _files(folder) if path not in before]
    (folder / MARK).write_text(json.dumps({"icshift": __version__, "files": ours}, indent=1) + "\n")


def _listed(folder: Path) -> list[Path]:
    try:
        listed = [folder / name for name in json.loads((folder / MARK).read_text())["files"]]
        inside = [path for path in listed if ".." not in path.parts and path.is_relative_to(folder)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunError(f"{folder / MARK} cannot be read ({error}): choose another path") from error
    return [*inside, folder / MARK]


def _files(folder: Path) -> list[Path]:
    """Returns all files below a folder; a link is a file, wherever it leads."""
    return sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())


def _delete(folder: Path, files: Iterable[Path]) -> None:
    """Deletes files, and the folders below this one that are empty then."""
    for file in files:
        file.unlink(missing_ok=True)
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
