"""Opening what somebody else may have put there: regular files and nothing else, and no more of one than is expected.

A pipe or a socket would be waited for without end, and a device, or a link to `/dev/zero`, read without end.
"""

from __future__ import annotations

import json
import os
import stat
from errno import EFBIG, EINVAL
from pathlib import Path
from typing import Any, BinaryIO

MOST_VALUES = 4_000_000
"""Values in a text in JSON; they take less than a gigabyte."""


def opened(path: Path) -> BinaryIO:
    """Opens a regular file, or what a link to one leads to, for reading.

    Raises `OSError` where it cannot be opened, and for anything else; nothing waits for whoever writes to a pipe.
    """
    _refuse_irregular(path, path.stat().st_mode)  # Before it is opened: already that may do something to a device.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        _refuse_irregular(path, os.fstat(descriptor).st_mode)  # Something else may be there by now.
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def content(path: Path, most: int) -> bytes:
    """Returns what a regular file holds. Raises `OSError` where it has more than `most` bytes, or `opened` does."""
    with opened(path) as file:
        read = file.read(most + 1)
    if len(read) > most:
        raise OSError(EFBIG, f"has more than {most:,} bytes, which no such file has", str(path))
    return read


def parsed(content: bytes, most: int = MOST_VALUES, **options: Any) -> Any:
    """Returns the value of a text in JSON, read by `json.loads` with these options.

    Raises `ValueError` where it is none, or one of more than `most` values: what stands for one takes 50 bytes and
    more where the text has two, so that they are counted before they are made.
    """
    if sum(map(content.count, (b",", b"[", b"{"))) > most:
        raise ValueError(f"more than {most:,} values")
    try:
        return json.loads(content, **options)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def size_of(file: BinaryIO) -> int:
    """Returns how many bytes an open file has."""
    return os.fstat(file.fileno()).st_size


_SMALL = 1 << 28
_UNPACKED = 200


def is_bomb(size: int, unpacked: int, small: int = _SMALL) -> bool:
    """Returns whether a file of so many bytes of data unpacks to so many that it was made to take all memory.

    That is more than `small` bytes and more than 200 times its own: what is packed best, as zeros, makes 1000 of one.

    >>> is_bomb(500_000, 800_000_000), is_bomb(500_000, 80_000_000), is_bomb(10**9, 10**11)
    (True, False, False)
    """
    return unpacked > max(small, _UNPACKED * size)


_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def _refuse_irregular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(EINVAL, f"is {kind}, expected a regular file", str(path))
