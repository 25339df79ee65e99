"""`icshift run`: a training script under the recorder, as a profiler would run it."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options
from icshift.errors import RunError

if TYPE_CHECKING:
    from icshift.launch.launcher import Launcher


def run(
    script: Annotated[
        str, typer.Argument(metavar="SCRIPT", help="Script (with -m: module) to run.", show_default=False)
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="Its own arguments.", show_default=False)
    ] = None,
    module: Annotated[bool, typer.Option("-m", help="SCRIPT is a module, as in python -m.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            parser=options.directory,
            help="Directory for the runs, one a model; icshift-runs/SCRIPT by default.",
            show_default=False,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            "--window",
            min=1,
            help="Steps a window; by default a pass over the training DataLoader.",
            show_default=False,
        ),
    ] = None,
    sites: options.Modules = None,
    samples: options.Samples = "64",
    forwards: Annotated[
        bool, typer.Option("--forwards", help="Each forward in training is a step, for want of a PyTorch optimizer.")
    ] = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Run a training script and record it.

    The script runs unchanged, with the arguments that follow it. Every model that a PyTorch optimizer trains is
    recorded under its own name in the output directory. The exit code is the script's.
    """
    from icshift.launch import script as scripts

    target = output or Path("icshift-runs") / (script.rsplit(".", 1)[-1] if module else Path(script).stem)
    body = scripts.prepare(script, arguments or [], module=module)
    first = os.environ.get("RANK", "0") == "0"
    made = _make_room(target, force=force) if first else []
    # The script may go to another directory, and may fork.
    path, process = target.absolute(), os.getpid()
    launchers: list[Launcher] = []
    with ExitStack() as recording:

        def record() -> None:
            from icshift.launch.launcher import Launcher, Settings

            settings = Settings(path, tuple(sites) if sites else None, window, samples, force, forwards)
            launchers.append(Launcher(settings))
            recording.enter_context(launchers[0].recording())

        scripts.when_imported("torch", record)
        code = scripts.run(body)
    if first and os.getpid() == process:
        with suppress(OSError):  # One that holds anything stays.
            for directory in reversed(made):
                directory.rmdir()
        _report(target, launchers[0] if launchers else None, quiet=quiet, no_color=no_color)
    sys.stdout.flush()
    raise typer.Exit(code)


def _make_room(target: Path, *, force: bool) -> list[Path]:
    """Make the directory for the runs. Returns the directories that were made for it, absolute, outermost first.

    Runs that are there already are refused, or with `force` deleted; nothing else is ever deleted. Raises `RunError`
    where they are kept, and where the directory cannot be made or written to.
    """
    from icshift.runs.format import is_run

    if target.exists() and not target.is_dir():
        raise RunError(f"{target} is a file: the runs go into a directory, choose another with -o")
    children = sorted(target.iterdir()) if target.exists() else []
    old = [path for path in (target, *children) if path.is_dir() and is_run(path)]
    if old and not force:
        raise RunError(f"{target} holds a recording already: choose another directory with -o, or replace it with -f")
    for path in old:
        shutil.rmtree(path)
    made = [path for path in (*reversed(target.absolute().parents), target.absolute()) if not path.exists()]
    try:
        # Now, and not when the training is over: what cannot be written is a mistake that should cost nothing.
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{target} cannot be made: {error.strerror or error}; choose another with -o") from error
    if not os.access(target, os.W_OK):
        raise RunError(f"{target} cannot be written to: choose another directory with -o")
    return made


def _report(target: Path, launcher: Launcher | None, *, quiet: bool, no_color: bool) -> None:
    """Report what was recorded, what was not and why: on stderr, since stdout belongs to the script."""
    from icshift.cli.output import show, warn
    from icshift.reports.run import recorded_report, unrecorded
    from icshift.runs.reader import StoredRun

    if launcher is None:
        warn(unrecorded((), imported=False), no_color=no_color)
        return
    stepped, models = launcher.forwards or launcher.steps > 0, len(launcher.recorders)
    warn(unrecorded(launcher.problems, stepped=stepped, models=models), no_color=no_color)
    if quiet or not models:
        return
    from icshift.launch.launcher import AUTOMATIC_WINDOW

    runs = [StoredRun(recorder.path) for recorder in launcher.recorders.values()]
    report = recorded_report(target, runs, AUTOMATIC_WINDOW if launcher.automatic else None)
    show(report, no_color=no_color, stderr=True)
