"""Where output goes: results to stdout, everything else to stderr, files only through `write_file`."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from icshift.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from icshift.reports.report import Part, Report


def screen(*, no_color: bool, stderr: bool = False) -> Console:
    """Returns a console on stdout or stderr.

    A stream that is no terminal gets plain text, 80 columns wide or as wide as the environment variable COLUMNS says.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="replace")
    # No markup: names of sites and paths may hold brackets.
    return Console(stderr=stderr, no_color=no_color or None, highlight=False, soft_wrap=False, markup=False)


def progress(*columns: str | ProgressColumn, quiet: bool, no_color: bool) -> Progress:
    """Returns a progress bar on stderr that goes away; it is not shown if `quiet`, or where stderr is no terminal."""
    from rich.progress import Progress

    console = screen(no_color=no_color, stderr=True)
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


def show(
    report: Report, *, json: bool = False, quiet: bool = False, no_color: bool = False, stderr: bool = False
) -> None:
    """Show a report on stdout, or on stderr if `stderr` is set; with `json`, print its data and nothing else.

    `quiet` leaves out the next step. Characters that the screen's encoding does not have become `?`.
    """
    if json:
        from icshift.reports.tabular import to_json

        print_text(to_json(dict(report.data)))
        return
    console = screen(no_color=no_color, stderr=stderr)
    draw(report, console)
    if report.next_step and not quiet:
        console.print(report.next_step, style="dim", soft_wrap=True)


def warn(warnings: Iterable[str], *, no_color: bool) -> None:
    """Print warnings on stderr, one a line."""
    console = screen(no_color=no_color, stderr=True)
    for warning in warnings:
        console.print(f"icshift: {warning}", style="yellow", soft_wrap=True)


def draw(report: Report, console: Console) -> None:
    """Print all of a report but its next step on a console."""
    from rich.text import Text

    if report.heading:
        console.print(report.heading, style="bold", soft_wrap=True)
    for part in report.body:
        _draw_part(part, console)
    for note in report.notes:
        console.print(note, style="dim")
    for warning in report.warnings:
        console.print(warning, style="yellow", soft_wrap=True)
    if report.verdict:
        verdict = report.verdict
        console.print(Text(verdict, style="bold") if isinstance(verdict, str) else verdict, soft_wrap=True)


def _draw_part(part: Part, console: Console) -> None:
    from rich.text import Text

    from icshift.reports.report import Report

    if isinstance(part, Report):
        draw(part, console)
    elif isinstance(part, str) or (isinstance(part, Text) and part.no_wrap):
        console.print(part, soft_wrap=True)
    else:
        console.print(part(console.width) if callable(part) else part)


def print_line(text: str) -> None:
    """Print one line to stdout at once, for whoever reads a pipe."""
    console = screen(no_color=True)
    console.print(text, soft_wrap=True)
    console.file.flush()


def print_text(text: str) -> None:
    """Print text to stdout as it is."""
    sys.stdout.write(text)


def refuse(path: Path, *, force: bool) -> None:
    """Raises `RunError` for a path that exists, unless `force`; to be called before any work is done for it.

    `-` is stdout, which takes everything.
    """
    if str(path) != "-" and path.exists() and not force:
        raise RunError(f"{path} exists and is kept: choose another path, or --force to replace it")


def refuse_file(path: Path, *, force: bool) -> None:
    """Raises `RunError` for a file that exists, unless `force`, and for one that could not be written."""
    refuse(path, force=force)
    if str(path) != "-" and (path.is_dir() or not path.parent.is_dir()):
        what = "is a directory" if path.is_dir() else f"cannot be written: there is no directory {path.parent}"
        raise RunError(f"{path} {what}; give the path of a file")


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all; `-` is stdout.

    Raises `RunError` if it exists, unless `force`, and where it cannot be written.
    """
    refuse_file(path, force=force)
    if str(path) == "-":
        sys.stdout.buffer.write(content)
        return
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; give another path") from error
