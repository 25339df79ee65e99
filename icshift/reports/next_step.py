"""The command that a report suggests: it shows more of the same, so it is given the same phase, metric and so on."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun


def next_step(command: str, run: StoredRun, *, why: str = "", **options: str) -> str:
    """Returns the line of a next step: a command on the run, and in brackets what it shows (`why`).

    Empty options are left out, and so is what the command takes by itself: the run's own phase, the default metric, the
    window before as reference.
    """
    from icshift.analysis.drift import default_phase  # Which imports pandas: a second.
    from icshift.analysis.metrics import DEFAULT

    itself = {"phase": default_phase(run), "metric": DEFAULT, "reference": "previous"}
    given = {name: value for name, value in options.items() if value and value != itself.get(name)}
    words = [f"--{name} {quote(value)}" for name, value in given.items()]
    return " ".join(["Next: icshift", command, typed(run.path), *words]) + (f"   ({why})" if why else "")


def typed(path: Path) -> str:
    """Returns a path as it is typed in a shell: quoted, and not taken for an option.

    >>> typed(Path("my run")), typed(Path("-lead"))
    ("'my run'", './-lead')
    """
    return quote(f"./{path}" if str(path).startswith("-") else str(path))


def window_shown(run: StoredRun) -> str:
    """Returns the name of the window that a report is of: empty for the last one, which every command shows itself."""
    return "" if run.whole else run.window_list[-1].name
