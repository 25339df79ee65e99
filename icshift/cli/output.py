"""Where output goes: results to stdout, everything else to stderr, files only through `write_file`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from icshift.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


def screen(*, no_color: bool, stderr: bool = False) -> Console:
    """A console on stdout or stderr; what is no terminal gets plain text, 80 columns wide or what COLUMNS says."""
    from rich.console import Console

    # No markup: names of sites and paths may hold brackets.
    return Console(stderr=stderr, no_color=no_color or None, highlight=False, soft_wrap=False, markup=False)


def progress(*columns: str | ProgressColumn, quiet: bool, no_color: bool) -> Progress:
    """A progress bar on stderr that goes away; none with `quiet`, or where stderr is no terminal."""
    from rich.progress import Progress

    console = screen(no_color=no_color, stderr=True)
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


def print_text(text: str) -> None:
    """Text to stdout as it is."""
    sys.stdout.write(text)


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all; `-` is stdout.

    Raises `RunError` if it exists, unless `force`, and where it cannot be written.
    """
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        return
    if path.exists() and not force:
        raise RunError(f"{path} exists and is kept: choose another path, or --force to replace it")
    if path.is_dir() or not path.parent.is_dir():
        what = "is a directory" if path.is_dir() else f"cannot be written: there is no directory {path.parent}"
        raise RunError(f"{path} {what}; give the path of a file")
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; give another path") from error
