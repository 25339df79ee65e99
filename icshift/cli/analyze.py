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

_ROWS = 200
"""Number of sites that are shown at most, as by `icshift report`."""


def analyze(
    saved: Annotated[
        list[Path],
        typer.Argument(
            metavar="CKPT...", help="Saved models, or directories of them, in any order.", show_default=False
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
            help="The inputs: a file of arrays, or package.module:callable.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            parser=options.directory,
            help="Directory for the run.",
            show_default=False,
        ),
    ],
    model: models.Model = None,
    model_arg: models.ModelArguments = None,
    target: models.Target = None,
    batch_size: models.BatchSize = 256,
    limit: models.Limit = None,
    device: models.Device = "cpu",
    dtype: models.Dtype = None,
    sites: options.Modules = None,
    samples: options.SamplesOfForward = "1024",
    train_mode: Annotated[
        bool, typer.Option("--train-mode", help="Also with batch norm by the batch, as in training: phase probe-batch.")
    ] = False,
    running: Annotated[
        bool, typer.Option("--running", help="Also with batch norm by its running averages: phase probe-running.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run: skip the models that it has.")] = False,
    key: models.Key = None,
    partial: models.Partial = False,
    unsafe_pickle: models.UnsafePickle = False,
    force: options.Force = False,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Replay one set of inputs through saved models.

    Each becomes a window of a run, in training order, so that report, units and export work on it; copies share one.
    The inputs are the same in every window: drift has no sampling noise. Batch norm uses the statistics of these inputs
    and not running averages, whose own noise would show as drift. Nothing in a file is executed.
    """
    started = time.time()
    from icshift.cli.output import progress, warn
    from icshift.model.processes import this_process
    from icshift.model.sites import Sites
    from icshift.replay.checkpoints import CheckpointRun, Replaying, own_device
    from icshift.runs.owner import launched, refuse_occupied
    from icshift.saved.find import find
    from icshift.saved.load import Wanted

    if resume and force:
        raise ModelError("--resume keeps what the run has and --force deletes it: give one of them")
    rank, ranks = this_process()
    if not resume:
        refuse_occupied(output, force=force, rank=rank, ranks=ranks)
    how = Replaying(
        Sites(tuple(sites) if sites else None), samples, train_mode, running, tuple(sorted(model_arg or ()))
    )
    wanted = Wanted(key, partial, unsafe_pickle)
    loading = models.Loading(model, model_arg, batch_size, limit, own_device(device), dtype, wanted)
    bar = progress(quiet=quiet or rank > 0, no_color=no_color)
    with models.opened(find(saved), loading) as opened, bar:
        inputs, left_out = opened.data(data, target)
        task = bar.add_task("reading", total=len(opened.found))
        trajectory = opened.trajectory(lambda: bar.advance(task))
        run = CheckpointRun(opened.model, opened.snapshots(trajectory.models), inputs, how)
        if resume:
            run.resume(output)
        task = bar.add_task("replaying", total=len(run.waiting))
        with _how_to_go_on(output, quiet=quiet, no_color=no_color):
            run.record(output, lambda: bar.advance(task), force=force)
        if ranks > 1 and not rank:
            _wait(output, ranks, (launched() or started - 1) if resume or force else 0, bar)
    if not rank:
        warnings = (
            trajectory.notes
            + left_out
            + [f"values of {data} that are not finite: {inputs.nonfinite:,}"] * bool(inputs.nonfinite)
        )
        warn(warnings, no_color=no_color)
        _report(output, json=json, quiet=quiet, no_color=no_color)


@contextmanager
def _how_to_go_on(output: Path, *, quiet: bool, no_color: bool) -> Iterator[None]:
    """Says, where the user interrupts what is within, that the run can be gone on with."""
    from icshift.cli.output import warn
    from icshift.runs.format import is_run

    try:
        yield
    except KeyboardInterrupt:
        if is_run(output) and not quiet:
            warn([f"interrupted: {output} keeps what is recorded, --resume goes on"], no_color=no_color)
        raise


def _wait(output: Path, ranks: int, since: float, bar: Progress) -> None:
    """Until the other processes are through: where one fails, the launcher ends this one too.

    Files of theirs that are older than `since` are of a run before, which they will replace or go on with.
    """
    from icshift.runs.format import MANIFEST_NAME, rank_in
    from icshift.runs.reader import StoredRun

    bar.add_task("waiting for the other processes", total=None)
    while True:
        theirs = [file for file in output.iterdir() if 0 < (rank_in(file.name, MANIFEST_NAME) or 0) < ranks]
        with suppress(FileNotFoundError):  # Just now replaced.
            if sum(file.stat().st_mtime >= since for file in theirs) == ranks - 1 and StoredRun(output).finished:
                return
        time.sleep(0.2)


def _report(output: Path, *, json: bool, quiet: bool, no_color: bool) -> None:
    """The report of the run, as `icshift report` gives it."""
    from icshift.analysis.by_site import summary
    from icshift.analysis.metrics import DEFAULT, METRICS
    from icshift.analysis.outcome import outcome
    from icshift.cli.output import show
    from icshift.reports.drift import drift_report
    from icshift.runs.reader import StoredRun

    run = StoredRun(output)
    report = drift_report(run, summary(run).head(_ROWS), METRICS[DEFAULT], outcome(run))
    show(report, json=json, quiet=quiet, no_color=no_color)
