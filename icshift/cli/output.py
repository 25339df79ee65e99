"""Where output goes: results to stdout, everything else to stderr, files only through `write_file`."""

from __future__ import annotations

import codecs
import os
import sys
from contextlib import contextmanager, nullcontext, suppress
from io import TextIOWrapper
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, TextIO

from icshift.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.text import Text

    from icshift.reports.report import Part, Report
    from icshift.runs.reader import StoredRun


def screen(*, no_color: bool, stderr: bool = False) -> Console:
    """Returns a console on stdout or stderr.

    A stream that is no terminal gets plain text, 80 columns wide or as wide as the environment variable COLUMNS says.
    """
    from rich.console import Console

    readable(sys.stderr if stderr else _stdout())
    # No markup: names of sites and paths may hold brackets.
    console = Console(stderr=stderr, no_color=no_color or None, highlight=False, soft_wrap=False, markup=False)
    console.on_broken_pipe = _raise_again  # type: ignore[method-assign]  # rich would exit with 1
    return console


def _stdout() -> TextIO:
    if sys.stdout is None:
        raise RunError("stdout is closed: there is nothing to print on")
    return sys.stdout


@contextmanager
def _as_long_as_it_is_read() -> Iterator[None]:
    """Goes on where the reader of stdout has seen enough, as `head`: how a command ends does not depend on it."""
    try:
        yield
        _stdout().flush()
    except BrokenPipeError:
        print_no_more(sys.stdout)


def print_no_more(stdout: TextIO) -> None:
    """Have what still waits to be printed go nowhere: the interpreter would complain when it ends."""
    sys.stdout = stdout
    os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


def _raise_again() -> None:
    raise  # noqa: PLE0704  (rich calls this where it has caught a BrokenPipeError)


def readable(stream: TextIO | None) -> None:
    """Have a stream print whatever it is given: signs that its encoding lacks in ASCII, or as `?`.

    Where the locale is C by name, it is ASCII, although Python would print UTF-8.
    """
    if isinstance(stream, TextIOWrapper):
        codecs.register_error("icshift", _instead)
        named = next(filter(None, (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))), "")
        chosen = "PYTHONIOENCODING" in os.environ or "PYTHONUTF8" in os.environ
        ascii_only = named in ("C", "POSIX") and not chosen
        stream.reconfigure(encoding="ascii" if ascii_only else None, errors="icshift")


def _instead(error: UnicodeError) -> tuple[str, int]:
    from icshift.reports.spelling import instead

    return instead(error)


def progress(*columns: str | ProgressColumn, quiet: bool, no_color: bool) -> Progress:
    """Returns a progress bar on stderr that goes away; it is not shown if `quiet`, or where stderr is no terminal."""
    from rich.progress import Progress

    console = screen(no_color=no_color, stderr=True)
    console.quiet = quiet or not console.is_terminal  # rich 13.8 ends a bar that is not shown with an empty line.
    return Progress(*columns, console=console, transient=True, disable=console.quiet)


def show(
    report: Report, *, json: bool = False, quiet: bool = False, no_color: bool = False, stderr: bool = False
) -> None:
    """Show a report on stdout, or on stderr if `stderr` is set; with `json`, print its data and nothing else.

    `quiet` leaves out the next step.
    """
    if json:
        from icshift.reports.tabular import to_json

        print_text(to_json(dict(report.data)))
        return
    from rich.text import Text

    console = screen(no_color=no_color, stderr=stderr)
    with nullcontext() if stderr else _as_long_as_it_is_read():
        draw(report, console)
        if report.next_step and not quiet:
            _print(Text(report.next_step, style="dim", no_wrap=True), console)


def warn(warnings: Iterable[str], *, no_color: bool) -> None:
    """Print warnings on stderr, one a line."""
    from rich.text import Text

    console = screen(no_color=no_color, stderr=True)
    for warning in warnings:
        _print(Text(f"icshift: {warning}", style="yellow", no_wrap=True), console)


def warn_of_missing(runs: Iterable[StoredRun | None], *, no_color: bool) -> None:
    """Print on stderr which files of runs are gone: for who writes data, which has no room to say so."""
    told = (f"{run.path}: {sentence}" for run in runs if run is not None for sentence in run.missing)
    warn(dict.fromkeys(told), no_color=no_color)


def draw(report: Report, console: Console) -> None:
    """Print all of a report but its next step on a console."""
    from rich.text import Text

    if report.heading:
        heading = "\n".join(part for line in report.heading.split("\n") for part in parted(line, console.width))
        _print(Text(heading, style="bold", no_wrap=True), console)
    for part in report.body:
        _draw_part(part, console)
    for note in report.notes:
        _print(Text(note, style="dim"), console)
    for warning in report.warnings:
        _print(Text(warning, style="yellow", no_wrap=True), console)
    if report.verdict:
        verdict = report.verdict
        lines = Text(verdict, style="bold") if isinstance(verdict, str) else verdict.copy()
        lines.no_wrap = True
        _print(lines, console)


def parted(heading: str, width: int) -> list[str]:
    """Returns a heading as lines that fit, if they can: it is parted at its dots, and between words where it must be.

    >>> parted("runs/a · Net · phase train", 20), parted("a-very-long-path/of/a/run · Net", 20)
    (['runs/a · Net', '· phase train'], ['a-very-long-path/of/a/run', '· Net'])
    >>> parted("runs/a · 15th, 50th, 85th percentile", 20)
    ['runs/a', '· 15th, 50th, 85th', 'percentile']
    """
    first, *rest = heading.split(" · ")
    lines = [first]
    for part in rest:
        if len(lines[-1]) + len(f" · {part}") <= width:
            lines[-1] += f" · {part}"
        else:
            first, *more = wrap(part, max(width - 2, 1), break_long_words=False, break_on_hyphens=False) or [part]
            lines += [f"· {first}", *more]
    return lines


def _draw_part(part: Part, console: Console) -> None:
    from rich.text import Text

    from icshift.reports.report import Report

    if isinstance(part, Report):
        draw(part, console)
    elif isinstance(part, str):
        _print(Text(part, no_wrap=True), console)
    elif isinstance(part, Text):
        _print(part, console)
    elif callable(part):
        _draw_part(part(console.width), console)
    else:
        console.print(part)


def _print(text: Text, console: Console) -> None:
    """Print text as the screen can show it, wrapped between words unless it is not to be wrapped."""
    from icshift.reports.harmless import harmless_lines
    from icshift.reports.spelling import spelt_text

    shown = harmless_lines(text)
    console.print(spelt_text(shown) if console.options.ascii_only else shown, soft_wrap=bool(text.no_wrap))


def print_line(text: str) -> None:
    """Print one line to stdout at once, for whoever reads a pipe."""
    from rich.text import Text

    console = screen(no_color=True)
    _print(Text(text, no_wrap=True), console)
    console.file.flush()


def print_text(text: str) -> None:
    """Print text to stdout as it is. Raises `RunError` where that is closed."""
    with _as_long_as_it_is_read():
        _stdout().write(text)


def refuse_twice(paths: Sequence[Path]) -> None:
    """Raises `RunError` for a path that is named twice: the second would replace the first."""
    for path in paths:
        if paths.count(path) > 1:
            raise RunError(f"-o {path} is given twice: one of them would replace the other")


def one_on_stdout(*given: str) -> None:
    """Raises `RunError` where more than one of the options given writes to stdout; empty ones do not."""
    if len(several := [*filter(None, given)]) > 1:
        raise RunError(f"{' and '.join(several)} {'both' if len(several) == 2 else 'all'} go to stdout: name a file")


def refuse(path: Path, *, force: bool) -> None:
    """Raises `RunError` for a path that exists, unless `force`; to be called before any work is done for it.

    A part of a run is refused with `force` too. `-` is stdout, which takes everything.
    """
    from icshift.runs.owner import refuse_part_of_run

    if str(path) == "-":
        return
    refuse_part_of_run(path)
    if path.exists() and not force:
        raise RunError(f"{path} exists and is kept: choose another path, or --force to replace it")


def refuse_file(path: Path, *, force: bool) -> None:
    """Raises `RunError` for a file that exists, unless `force`, and for one that could not be written."""
    refuse(path, force=force)
    if str(path) != "-" and (path.is_dir() or not path.parent.is_dir()):
        what = "is a directory" if path.is_dir() else f"cannot be written: there is no directory {path.parent}"
        raise RunError(f"{path} {what}; give the path of a file")


def _for_screen(content: bytes) -> bytes:
    """Returns a text that a terminal is to show: names in it may hold what steers one."""
    from rich.text import Text

    from icshift.reports.harmless import harmless_lines

    return harmless_lines(Text(content.decode(errors="replace"))).plain.encode()


def write_file(path: Path, content: bytes, *, force: bool) -> None:
    """Write a file whole or not at all; `-` is stdout.

    Raises `RunError` if it exists, unless `force`, and where it cannot be written.
    """
    write_pieces(path, [content], force=force)


def write_pieces(path: Path, pieces: Iterable[bytes], *, force: bool) -> None:
    """Write a file whole or not at all, of pieces that need not be in memory together; see `write_file`."""
    refuse_file(path, force=force)
    if str(path) == "-":
        shown = map(_for_screen, pieces) if _stdout().isatty() else pieces
        with _as_long_as_it_is_read():
            for piece in shown:
                _stdout().buffer.write(piece)
        return
    device = path.exists() and not path.is_file()  # A device or a pipe stays what it is.
    aside = path if device else path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.writelines(pieces)
        if not device:
            aside.replace(path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}; give another path") from error
    finally:
        if not device:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
