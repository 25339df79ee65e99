"""Starts the server, once in a process of tests, and knows the programs that it serves."""

import atexit
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

SERVER = Path(__file__).with_name("server.py")

SERVERS: dict[int, Path] = {}
"""The folders of the servers that were started here, by their numbers."""

CLIENTS: set[int] = set()
"""The processes that were started for them: these numbers, or clients that wait for them."""


@cache
def folder(*packages: str) -> Path:
    """Where the programs are, for PATH; those of this environment where forks are not to be had.

    With packages it is another server, a fork of the first that has imported these too.
    """
    if sys.platform != "linux":
        return Path(sys.executable).parent
    # The search path is of the command that is run, not of the server, unless that imports what is found there.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or packages}
    server = subprocess.Popen(
        [python() if packages else sys.executable, SERVER, *packages],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests: it ends when they do.
    )
    CLIENTS.add(server.pid)
    atexit.register(server.communicate)
    number, _, folder = server.stdout.readline().rstrip("\n").partition(" ")
    SERVERS[int(number)] = Path(folder)
    return Path(folder)


def python(*packages: str) -> str:
    """The path of a program that does what `sys.executable` does."""
    return str(folder(*packages) / "python")


def icshift() -> str:
    """The path of a program that does what the console script `icshift` does."""
    return str(folder() / "icshift")
