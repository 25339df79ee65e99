"""`icshift analyze`: the saved models of a finished training, on one fixed set of inputs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import models, options
from icshift.errors import ModelError

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import nn

    from icshift.capture.saved import Found
    from icshift.capture.series import Snapshot


def analyze(
    saved: Annotated[
        list[Path],
        typer.Argument(
            metavar="CKPT...", help="Saved models, or directories of them, in any order.", show_default=False
        ),
    ],
    data: Annotated[
        str,
        typer.Option("--data", help="The inputs: a file of arrays, or package.module:callable.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for the run.", show_default=False)],
    model: models.Model = None,
    model_arg: models.ModelArguments = None,
    batch_size: models.BatchSize = 256,
    limit: models.Limit = None,
    device: models.Device = "cpu",
    dtype: models.Dtype = None,
    sites: Annotated[
        list[str] | None,
        typer.Option("--sites", help="Name or glob of modules to watch, or all; may be repeated.", show_default=False),
    ] = None,
    samples: models.Samples = "1024",
    train_mode: Annotated[
        bool, typer.Option("--train-mode", help="Also with batch norm by the batch, as in training: phase probe-train.")
    ] = False,
    precise: Annotated[
        bool, typer.Option("--precise", help="Also with batch norm by statistics of all the data: phase probe-precise.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run: skip the models that it has.")] = False,
    partial: models.Partial = False,
    unsafe_pickle: models.UnsafePickle = False,
    force: options.Force = False,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Replay one set of inputs through saved models.

    Each becomes a window of a run, in training order, so that report, units and export work on it. The inputs are the
    same in every window: drift has no sampling noise. Nothing in a file is executed.
    """
    from icshift.capture.saved import find
    from icshift.capture.series import Replaying, Series
    from icshift.capture.sites import Sites
    from icshift.recording import refuse_existing

    if resume and force:
        raise ModelError("--resume keeps what the run has and --force deletes it: give one of them")
    rank, ranks = models.this_process()
    if not resume:
        refuse_existing(output, force=force, rank=rank, ranks=ranks)
    found = find(saved)
    built = models.build(model, model_arg, found[0], partial=partial, unsafe=unsafe_pickle)
    read = models.read_data(data, built, batch_size, limit, device, dtype)
    how = Replaying(Sites(tuple(sites) if sites else None), models.samples_of(samples), train_mode, precise)
    snapshots = [_snapshot(one, partial=partial, unsafe=unsafe_pickle) for one in found]
    notes = _check(built, snapshots, quiet=quiet, no_color=no_color)
    series = Series(built, snapshots, read, how)
    recording = series.resume(output) if resume else series.create(output, force=force)
    with _bar(quiet=quiet, no_color=no_color) as bar:
        task = bar.add_task("replaying", total=len(series.waiting))
        series.record(recording, lambda: bar.advance(task))
    if rank:
        return
    _wait(output, len(found), quiet=quiet, no_color=no_color)
    if read.nonfinite:
        notes.append(f"{read.nonfinite:,} values of {data} are not finite")
    _show(output, notes, json=json, quiet=quiet, no_color=no_color)


def _snapshot(found: Found, *, partial: bool, unsafe: bool) -> Snapshot:
    from icshift.capture.saved import check, fit, load
    from icshift.capture.series import Snapshot

    def fits(model: nn.Module) -> str:
        loaded = load(found, unsafe=unsafe)
        return check(model, loaded.state, partial=partial, source=str(found.path)).left

    def put(model: nn.Module) -> None:
        fit(model, load(found, unsafe=unsafe).state, partial=partial, source=str(found.path))

    return Snapshot(found.label, found.step, fits, put)


def _check(model: nn.Module, snapshots: list[Snapshot], *, quiet: bool, no_color: bool) -> list[str]:
    """Before anything is recorded, see that every saved model fits; what some leave at its initialisation, in words."""
    notes: dict[str, None] = {}
    with _bar(quiet=quiet, no_color=no_color) as bar:
        for snapshot in bar.track(snapshots, description="reading"):
            left = snapshot.fits(model)
            if left:
                notes[f"{snapshot.name}: {left}"] = None
    return list(notes)


def _bar(*, quiet: bool, no_color: bool) -> Progress:
    from rich.progress import Progress

    from icshift.cli.output import screen

    return Progress(console=screen(no_color=no_color, stderr=True), transient=True, disable=quiet)


def _wait(output: Path, windows: int, *, quiet: bool, no_color: bool) -> None:
    """Until the other processes are through: where one fails, the launcher ends this one too."""
    from icshift.run import Run

    if Run(output).finished:
        return
    with _bar(quiet=quiet, no_color=no_color) as bar:
        task = bar.add_task("waiting for the other processes", total=windows)
        while not (run := Run(output)).finished:
            bar.update(task, completed=len(run.window_list))
            time.sleep(0.2)


def _show(output: Path, notes: list[str], *, json: bool, quiet: bool, no_color: bool) -> None:
    from icshift.cli.output import screen
    from icshift.cli.report import report

    console = screen(no_color=no_color, stderr=True)
    for note in notes:
        console.print(f"icshift: {note}", style="yellow", soft_wrap=True)
    report(output, json=json, quiet=quiet, no_color=no_color)
