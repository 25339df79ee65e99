"""`icshift analyze`: the saved models of a finished training, on one fixed set of inputs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options
from icshift.cli import saved as models
from icshift.errors import ModelError

if TYPE_CHECKING:
    from rich.progress import Progress
    from torch import nn

    from icshift.replay.checkpoints import Snapshot


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
    samples: options.SamplesOfForward = "1024",
    train_mode: Annotated[
        bool, typer.Option("--train-mode", help="Also with batch norm by the batch, as in training: phase probe-batch.")
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
    started = time.time()
    from icshift.cli.output import progress
    from icshift.model.sites import Sites
    from icshift.replay.checkpoints import CheckpointRun, Replaying, own_device, same_draws, snapshots
    from icshift.runs.writer import refuse_occupied
    from icshift.saved.find import find

    if resume and force:
        raise ModelError("--resume keeps what the run has and --force deletes it: give one of them")
    rank, ranks = models.this_process()
    if not resume:
        refuse_occupied(output, force=force, rank=rank, ranks=ranks)
    how = Replaying(
        Sites(tuple(sites) if sites else None),
        samples,
        train_mode,
        precise,
        tuple(sorted(model_arg or ())),
    )
    found = find(saved)
    with same_draws():
        built = models.build(model, model_arg, found[0], partial=partial, unsafe=unsafe_pickle)
    bar = progress(quiet=quiet or rank > 0, no_color=no_color)
    with models.as_it_was(built, model), bar:
        read = models.read_data(data, built, batch_size, limit, own_device(device), dtype)
        run = CheckpointRun(built, snapshots(found, built, partial=partial, unsafe=unsafe_pickle), read, how)
        if resume:
            run.resume(output)
        notes = _check(built, run.missing, bar)
        task = bar.add_task("replaying", total=len(run.waiting))
        with _told_how_to_go_on(output, quiet=quiet, no_color=no_color):
            run.record(output, lambda: bar.advance(task), force=force)
        if ranks > 1 and not rank:
            _wait(output, ranks, started - 1 if resume or force else 0, bar)
    if not rank:
        notes += [f"values of {data} that are not finite: {read.nonfinite:,}"] if read.nonfinite else []
        _show(output, notes, json=json, quiet=quiet, no_color=no_color)


def _check(model: nn.Module, snapshots: list[Snapshot], bar: Progress) -> list[str]:
    """Before anything is recorded, see that every saved model fits; what some leave at its initialisation, in words."""
    notes = []
    task = bar.add_task("reading", total=len(snapshots))
    for snapshot in snapshots:
        if left := snapshot.fits(model):
            notes.append(f"{snapshot.name}: {left}")
        bar.advance(task)
    return notes


@contextmanager
def _told_how_to_go_on(output: Path, *, quiet: bool, no_color: bool) -> Iterator[None]:
    from icshift.cli.output import screen
    from icshift.runs.format import is_run

    try:
        yield
    except KeyboardInterrupt:
        if is_run(output) and not quiet:
            console = screen(no_color=no_color, stderr=True)
            console.print(f"icshift: interrupted: {output} keeps what is recorded, --resume goes on", soft_wrap=True)
        raise


def _wait(output: Path, ranks: int, since: float, bar: Progress) -> None:
    """Until the other processes are through: where one fails, the launcher ends this one too.

    Files of theirs that are older are of a run before, which they will replace or go on with.
    """
    from icshift.runs.format import MANIFEST_NAME, rank_in
    from icshift.runs.reader import Run

    bar.add_task("waiting for the other processes", total=None)
    while True:
        theirs = [file for file in output.iterdir() if 0 < (rank_in(file.name, MANIFEST_NAME) or 0) < ranks]
        with suppress(FileNotFoundError):  # Just now replaced.
            if sum(file.stat().st_mtime >= since for file in theirs) == ranks - 1 and Run(output).finished:
                return
        time.sleep(0.2)


def _show(output: Path, notes: list[str], *, json: bool, quiet: bool, no_color: bool) -> None:
    from icshift.cli.output import screen
    from icshift.cli.report import report

    console = screen(no_color=no_color, stderr=True)
    for note in notes:
        console.print(f"icshift: {note}", style="yellow", soft_wrap=True)
    report(output, json=json, quiet=quiet, no_color=no_color)
