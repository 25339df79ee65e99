"""Writing a file so that it is there whole or not at all, after a kill, a loss of power and on a full disk.

What is written goes to a file aside, to the disk (`fsync`), and then takes its place under its name. Names go to the
disk together, once for several files (`names_to_disk`): that takes as long as two files, 8 ms on the disk where it was
measured. After a loss of power a file whose name had reached the disk is there with all its bytes.
"""

from __future__ import annotations

import errno
import itertools
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ASIDE = re.compile(r"\.(.+)\.[0-9]+(?:-[0-9]+)?")
"""Names of files that are being written: a dot, the name to come, the number of the process and, but of older versions,
that of the file among all that it writes."""

_COUNT = itertools.count(1)

_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
"""What says, of a directory, that its names did not reach the disk. File systems that cannot do it say other things."""


def aside_of(path: Path) -> Path:
    """Returns where to write a file that takes its name when it is whole: no other process or thread writes there."""
    return path.with_name(f".{path.name}.{os.getpid()}-{next(_COUNT)}")


def write_aside(path: Path, write: Callable[[Path], object], *, new: bool = False) -> os.stat_result:
    """Have `write(aside)` write a file, put it in place, and return what the system knows of it.

    Nothing is left aside where that fails: on a full disk it would be in the way of what is tried next. With `new`
    it raises `FileExistsError` where the name is taken already, even by a process that took it a moment before.
    """
    aside = aside_of(path)
    try:
        write(aside)
        known = _to_disk(aside)
        if new:
            _take_name(aside, path)
        else:
            aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    return known


def names_to_disk(folder: Path) -> None:
    """Have the names in a directory reach the disk, where the file system can do that."""
    try:
        _to_disk(folder)
    except OSError as error:
        if error.errno in _LOST:
            raise


def _to_disk(path: Path) -> os.stat_result:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _take_name(aside: Path, path: Path) -> None:
    try:
        os.link(aside, path)  # Of two processes that do this at once, one gets the name.
    except FileExistsError:
        raise
    except OSError:  # A file system without hard links.
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        aside.replace(path)
    else:
        aside.unlink()
