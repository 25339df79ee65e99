"""`icshift run`: a training script under the recorder, as a profiler would run it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icshift.cli import options
from icshift.cli.command import Command, Interrupted
from icshift.errors import ONE_PROCESS, RecordingError, RunError

if TYPE_CHECKING:
    from icshift.launch.launcher import Launcher


class WithScript(Command):
    """A command that takes what follows SCRIPT as the script's own."""

    allow_interspersed_args = False


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
            help="Steps a window; by default a pass over the training DataLoader, else 10 to 20 windows in all.",
            show_default=False,
        ),
    ] = None,
    sites: options.Modules = None,
    samples: options.Samples = "64",
    overhead: Annotated[
        Any,
        typer.Option(
            "--overhead",
            metavar="SHARE",
            parser=options.overhead,
            help="Record fewer steps where recording takes more than this share of the training's time, as 3%.",
            show_default=False,
        ),
    ] = None,
    forwards: Annotated[
        bool, typer.Option("--forwards", help="Each forward in training is a step, for want of a PyTorch optimizer.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the runs in the output directory, of a training that was stopped."),
    ] = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Run a training script and record it.

    The script runs unchanged, with the arguments that follow it. Every model that a PyTorch optimizer trains is
    recorded under its own name in the output directory. The exit code is the script's.
    """
    from icshift.launch import children
    from icshift.launch import script as scripts

    if overhead is not None:
        _refuse_processes(os.environ.get("WORLD_SIZE", ""))
    children.disarm()
    target = output or Path("icshift-runs") / (script.rsplit(".", 1)[-1] if module else Path(script).stem)
    body = scripts.prepare(script, arguments or [], module=module)
    first = os.environ.get("RANK", "0") == "0"
    if resume and force:
        raise typer.BadParameter("--resume goes on with the runs that --force replaces: take one of them")
    made = _make_room(target, force=force, resume=resume) if first else []
    before = _manifests(target) if first else {}
    # The script may go to another directory, and may fork.
    process = os.getpid()
    how = {
        **{"path": str(target.absolute()), "sites": sites, "window": window},
        **{"samples": samples, "overhead": overhead, "force": force, "forwards": forwards, "quiet": quiet},
        **{"resume": resume},
    }
    launchers: list[Launcher] = []
    with ExitStack() as recording:
        recording.enter_context(children.followed(how))

        def record() -> None:
            begun = time.perf_counter()
            from icshift.launch.launcher import Launcher, settings

            launchers.append(Launcher(settings(how), scripts.uncaught))
            recording.enter_context(launchers[0].recording())
            launchers[0].costs.once.seconds += start + time.perf_counter() - begun

        # What the interpreter did until now it did for icshift, but for its own start.
        start, begun = time.process_time(), time.perf_counter()
        scripts.when_imported("torch", record)
        code = scripts.run(body)
    if first and os.getpid() == process:
        with suppress(OSError):  # One that holds anything stays.
            for directory in reversed(made):
                directory.rmdir()
        elapsed = start + time.perf_counter() - begun
        recorded = [path for path, stamp in _manifests(target).items() if before.get(path) != stamp]
        _report(target, recorded, launchers[0] if launchers else None, elapsed, quiet=quiet, no_color=no_color)
    sys.stdout.flush()
    if code is None:
        raise Interrupted
    raise typer.Exit(code)


def _refuse_processes(told: str) -> None:
    """Raise `RecordingError` where a launcher told that this is one of several processes: a budget is kept by one."""
    if told.isdecimal() and int(told) > 1:
        raise RecordingError(ONE_PROCESS.format(told))


def _make_room(target: Path, *, force: bool, resume: bool) -> list[Path]:
    """Make the directory for the runs. Returns the directories that were made for it, absolute, outermost first.

    Runs that are there already are refused, or with `force` deleted; nothing else is ever deleted. With `resume` they
    stay. Raises `RunError` where they are kept, and where the directory cannot be made or written to.
    """
    from icshift.runs.format import is_run
    from icshift.runs.owner import recorded_by, refuse_part_of_run

    refuse_part_of_run(target)
    if target.exists() and not target.is_dir():
        raise RunError(f"{target} is a file: the runs go into a directory, choose another with -o")
    old = [] if resume else [*([target] if is_run(target) else []), *_runs(target)]
    if old and not force:
        raise RunError(
            f"{target} holds a recording already: choose another directory with -o, replace it with -f, or go on with "
            "it by --resume"
        )
    for path in old:
        if whose := recorded_by(path):
            raise RunError(f"{path} is being recorded now ({whose}): it is not replaced; stop that first")
    for path in old:
        shutil.rmtree(path)
        if path.parent.parent == target:
            with suppress(OSError):  # One that holds anything else stays.
                path.parent.rmdir()
    made = [path for path in (*reversed(target.absolute().parents), target.absolute()) if not path.exists()]
    try:
        # Now, and not when the training is over: what cannot be written is a mistake that should cost nothing.
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{target} cannot be made: {error.strerror or error}; choose another with -o") from error
    if not os.access(target, os.W_OK):
        raise RunError(f"{target} cannot be written to: choose another directory with -o")
    return made


def _runs(target: Path) -> list[Path]:
    """The runs in a directory, and then those in the directories of processes that a script started."""
    from icshift.runs.format import CHILD, is_run

    children = sorted(target.glob(f"{CHILD}*"), key=lambda path: (len(path.name), path.name))
    places = [*sorted(target.glob("*")), *(path for child in children for path in sorted(child.glob("*")))]
    return [path for path in places if path.is_dir() and is_run(path)]


def _manifests(target: Path) -> dict[Path, tuple[int, int]]:
    """The absolute paths of the runs in a directory, each with what tells its manifest from one written since."""
    from icshift.runs.format import MANIFEST

    stats = {path.absolute(): (path / MANIFEST).stat() for path in _runs(target)}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items()}


def _report(
    target: Path,
    recorded: list[Path],
    launcher: Launcher | None,
    elapsed: float,
    *,
    quiet: bool,
    no_color: bool,
) -> None:
    """Report what was recorded, what was not and why: on stderr, since stdout belongs to the script.

    `recorded` are the runs in the target that were written to: with --resume others may be there, which were not.
    `elapsed` are the seconds since the interpreter started.
    """
    begun = time.perf_counter()
    from icshift.cli.output import show, warn
    from icshift.reports.run import Cost, recorded_report, unrecorded
    from icshift.runs.reader import StoredRun

    own = [] if launcher is None else [recorder.path for recorder in launcher.recorders.values()]
    runs = [StoredRun(path) for path in dict.fromkeys((*own, *recorded))]
    problems = [] if launcher is None else launcher.missing()
    stepped = launcher is not None and (launcher.forwards or launcher.steps > 0)
    facts = {"imported": launcher is not None, "stepped": stepped, "others": len(runs) > len(own)}
    warn(unrecorded(problems, **facts, children=_had_children()), no_color=no_color)
    if quiet or not runs:
        return
    cost = None
    if launcher is not None and own:
        spent, steps = launcher.costs.spent, launcher.steps
        telling = time.perf_counter() - begun
        once, elapsed = spent.once + telling, elapsed + telling
        cost = Cost(once + spent.training, elapsed, launcher.copies.counts(), spent.whole, once, steps)
    report = recorded_report(target, runs, cost)
    show(report, no_color=no_color, stderr=True)


def _had_children() -> bool:
    """Whether this process has started others that ended."""
    times = os.times()
    return times.children_user + times.children_system > 0
