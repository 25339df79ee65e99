"""A bound for tests that wait for other processes: beyond it is shown where these are, and they are ended.

What waits for them then goes on, with nothing in hand: a fault is told sooner than by the time that every test has.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

from tests.warm import starting
from tests.warm.server import STACKS

SECONDS = 90
"""Several times as long as the slowest of these tests takes on two cores with other work on them."""


@contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[None]:
    """A block after so many seconds of which all processes that were started here are shown and ended."""
    timer = Timer(seconds, _give_up, (seconds,))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def limited(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Such a block, which an error ends together with a process: nobody waits for that."""
    with bounded():
        try:
            yield
        except BaseException:
            process.kill()
            raise


def _give_up(seconds: float) -> None:
    print(f"nothing within {seconds:g} s; forks are at\n{stacks()}")
    for process in _started() - starting.CLIENTS - starting.SERVERS.keys():
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def stacks() -> str:
    """Where every fork of the warm servers is, thread by thread, as it writes itself."""
    files = [folder / "stacks" for folder in starting.SERVERS.values()]
    before = [file.stat().st_size for file in files]
    for process in _started() - starting.SERVERS.keys():
        with suppress(OSError):
            if str(starting.SERVER).encode() in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"):
                os.kill(process, STACKS)
    time.sleep(1)  # Each writes within its handler, a few milliseconds of work.
    return "".join(file.read_bytes()[size:].decode() for file, size in zip(files, before, strict=True))


def _started() -> set[int]:
    """The processes that this one has started, and those that they did."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found, added = set(), {os.getpid()}
    while added:
        added = {process for process, parent in parents.items() if parent in added} - found
        found |= added
    return found
