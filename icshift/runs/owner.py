"""Whose a path is: where a new run may go, which runs are being recorded now, and who gets a path that several want.

Of a run one process writes the files of each rank. It is known by a random `id`, which is in the manifest of its rank
and in all of its files: whoever finds another one there has lost the path.
"""

from __future__ import annotations

import json
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from icshift.errors import RunError
from icshift.runs.durable import ASIDE
from icshift.runs.format import (
    GRADIENT_SHIFT,
    LOGGED,
    MANIFEST,
    MANIFEST_NAME,
    MERGED,
    PART_NAME,
    SMOOTHNESS,
    SMOOTHNESS_IN_FORMAT_1,
    is_run,
    rank_in,
)

LATELY = 30.0
"""Seconds since a run was last written to within which a process that cannot be asked may still record: recorders write
every ten."""

FOLDERS = ("windows", "steps", GRADIENT_SHIFT, SMOOTHNESS, SMOOTHNESS_IN_FORMAT_1, LOGGED)


def manifest_name(rank: int) -> str:
    """Returns the name of the manifest of a rank."""
    return f"run.rank{rank}.json" if rank else MANIFEST


def this_writer() -> dict[str, Any]:
    """Returns the entry `writer` of a manifest: where this process runs, its number, and when it was started."""
    return {"host": _host(), "process": os.getpid(), "started": _started(os.getpid())}


def refuse_part_of_run(path: Path) -> None:
    """Raises `RunError` for a path that is one of the files or folders of a run, of whichever, or lies within one.

    It need not exist: in the folder of a run's windows nothing but its windows may be. A new file beside its manifest
    is no part of it.
    """
    with suppress(ValueError):  # A name that no file can have.
        # Of a link both are asked: what it leads to would be written to in a folder, it itself is replaced by a file.
        for at in {Path(os.path.realpath(path)), Path(os.path.realpath(path.parent), path.name)}:
            for run in at.parents:
                name = at.relative_to(run).parts[0]
                if (name in (*FOLDERS, MERGED) or MANIFEST_NAME.fullmatch(name)) and is_run(run):
                    raise RunError(
                        f"{path} belongs to the run {run}: even with force nothing else is written there; choose "
                        "another path"
                    )


def refuse_occupied(path: Path, *, force: bool, rank: int = 0, ranks: int = 1) -> None:
    """Raise `RunError` where this rank must not write.

    A run alone takes a path where nothing is. Of several ranks, rank 0 takes also a directory that holds nothing but
    what the other ranks may have made just now, the others any that has no files of theirs. With `force` rank 0 takes
    also a directory that holds a run, unless it is being recorded now, and the others any. Nobody takes a part of one.
    """
    if not 0 <= rank < ranks:
        raise RunError(f"rank {rank} of {ranks}: ranks count from 0, so it must be at least 0 and less than {ranks}")
    refuse_part_of_run(path)
    try:
        occupied = path.exists() or path.is_symlink()
        writers = _writers(path) if occupied else []
    except OSError as error:
        raise RunError(f"{path} cannot be looked into ({error.strerror or error}): choose another path") from error
    if not occupied:
        return
    if rank:
        refused = rank in writers or not path.is_dir()
        replaceable = path.is_dir()
    else:
        refused = ranks == 1 or any(writer is None or not 0 < writer < ranks for writer in writers)
        replaceable = is_run(path) if (path / MANIFEST).exists() else None not in writers
    if refused and not force:
        raise occupied_error(path)
    if force and not replaceable:
        raise RunError(f"{path} exists and is no icshift run: even with force it is not replaced; choose another path")
    if force and not rank and (whose := recorded_by(path)):
        raise RunError(f"{path} is being recorded now ({whose}): even with force it is not replaced; stop that first")


def barely_begun(path: Path, rank: int) -> bool:
    """Returns whether a path is a directory that holds nothing of this rank but what a process leaves that is killed
    before its manifest is there."""
    return path.is_dir() and all(
        writer is not None and (writer != rank or file.name.startswith(".")) for file, writer in contents(path)
    )


def occupied_error(path: Path) -> RunError:
    """Returns the error for a path where something is already; the caller raises it."""
    but = ", or force to replace the run" if is_run(path) else "; nothing but a run is replaced, or gone on with"
    return RunError(f"{path} exists and is kept: choose another path{but}")


def recorded_by(path: Path) -> str:
    """Returns in words which other process records at a path now; empty where none does, or this one.

    The first rank is asked: the others of a training that begins anew may have begun already.
    """
    manifest = _manifest(path / MANIFEST)
    if not manifest or manifest.get("finished", True):
        return ""
    writer = manifest.get("writer")
    writer = writer if isinstance(writer, dict) else {}
    number = writer.get("process")
    if writer.get("host") == _host() and isinstance(number, int):
        alive = number != os.getpid() and _runs(number, writer.get("started"))
        return f"by process {number}" if alive else ""
    seconds = time.time() - (path / MANIFEST).stat().st_mtime
    return f"written to {max(seconds, 0):.0f} s ago, from elsewhere" if seconds < LATELY else ""


def known_to_have_ended(path: Path) -> bool:
    """Returns whether the process that recorded at a path was one of this machine, and is there no more.

    Of several, the first rank is asked.
    """
    writer = _manifest(path / MANIFEST).get("writer")
    writer = writer if isinstance(writer, dict) else {}
    number = writer.get("process")
    return writer.get("host") == _host() and isinstance(number, int) and not _runs(number, writer.get("started"))


def launched() -> float | None:
    """Returns when torchrun was started that started this process, in seconds of the clock of files.

    It starts the processes of a machine where all machines have come together: none has written anything before. None
    without it, where the system does not tell, and where it starts all anew, as after an error.
    """
    if os.environ.get("TORCHELASTIC_RESTART_COUNT") != "0" or (ticks := _started(os.getppid())) is None:
        return None
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def id_at(file: Path) -> str | None:
    """Returns the id in a manifest; None where there is none. Raises `OSError` where it cannot be read."""
    try:
        found = json.loads(file.read_text())
    except ValueError:
        return None
    return found.get("id") if isinstance(found, dict) else None


def delete(path: Path, rank: int, ranks: int) -> None:
    """Delete the files of this rank; rank 0 deletes also those of ranks that an older, larger run had."""
    for file, writer in contents(path):
        if writer is not None and (writer == rank or (rank == 0 and writer >= ranks)):
            file.unlink(missing_ok=True)


def contents(path: Path) -> list[tuple[Path, int | None]]:
    """Returns what lies in a directory and its folders, manifests first, each with the rank that made it.

    None instead of a rank stands for a file that no icshift makes.
    """
    found = []
    for folder, pattern in ((path, MANIFEST_NAME), *((path / name, PART_NAME) for name in FOLDERS)):
        for file in folder.iterdir() if folder.is_dir() else ():
            if folder != path or file.name not in FOLDERS or not file.is_dir():
                aside = ASIDE.fullmatch(file.name)
                found.append((file, rank_in(aside[1] if aside else file.name, pattern)))
    return found


def _writers(path: Path) -> list[int | None]:
    return [writer for _, writer in contents(path)] if path.is_dir() else [None]


def _manifest(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _host() -> str:
    """This machine and, where processes are numbered apart, as in a container, which numbers count."""
    with suppress(OSError):
        return f"{platform.node()} {Path('/proc/self/ns/pid').stat().st_ino}"
    return platform.node()


def _runs(number: int, started: Any) -> bool:
    """Whether the process of this number that was started then still runs."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # It is somebody else's.
    return started is None or started == _started(number)


def _started(number: int) -> int | None:
    """When a process was started, in ticks since the machine was; None where the system does not tell."""
    try:
        told = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may hold anything; the 22nd field is the 20th after it.
    state, *fields = told.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
