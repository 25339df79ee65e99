"""`icshift demo`: batch norm and drift on real data, in under a minute."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options

if TYPE_CHECKING:
    from icshift.reports.comparison import Trained
    from icshift.runs.reader import StoredRun

_NAMES = ("plain", "batch-norm")


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            parser=options.directory,
            help="Directory for the two runs and the CSV.",
        ),
    ] = Path("icshift-demo"),
    epochs: Annotated[int, typer.Option("--epochs", min=10, help="Passes over the 1,400 training digits.")] = 200,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Train and record two small networks, then compare them.

    The 3x100 sigmoid network of Ioffe & Szegedy (2015) learns scikit-learn's digits with and without batch norm.
    """
    from icshift.analysis.units import drift_of_phases
    from icshift.cli.output import show, write_file
    from icshift.reports.comparison import demo_report
    from icshift.reports.tabular import as_csv
    from icshift.runs.reader import StoredRun
    from icshift.runs.writer import refuse_occupied

    paths = [output / name for name in _NAMES]
    table, checkpoints = output / "drift.csv", output / "checkpoints"
    for path in paths:
        refuse_occupied(path, force=force)
    saved = [path.with_suffix(".pt") for path in paths]
    inputs = [output / f"{name}.npz" for name in ("probe", "dimmed", "train")]
    _make_room([table, checkpoints, *saved, *inputs], force=force)
    accuracies = train_both(paths, epochs=epochs, force=force, quiet=quiet, no_color=no_color)
    runs = [StoredRun(path) for path in paths]
    import pandas as pd

    drifts = pd.concat([drift_of_phases(run, ("w1", "w1_sd")) for run in runs], ignore_index=True)
    write_file(table, as_csv(drifts), force=force)
    networks = measured(runs, accuracies)
    show(demo_report(networks, table, checkpoints, (inputs[0], inputs[2])), quiet=quiet, no_color=no_color)


def _make_room(made: list[Path], *, force: bool) -> None:
    """Refuse, or with `force` delete, what an earlier demo has left."""
    from icshift.cli.output import refuse

    for path in made:
        refuse(path, force=force)
    for path in filter(Path.exists, made):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def train_both(paths: list[Path], *, epochs: int, force: bool, quiet: bool, no_color: bool) -> list[float]:
    """Train and record the plain network and the one with batch norm; returns their test accuracies (0 to 1)."""
    import torch

    from icshift.cli.output import progress
    from icshift.demo import load_digits, save_inputs, train

    # Steps this small gain nothing from a second thread, and lose much when it is busy.
    torch.set_num_threads(1)
    digits = load_digits()
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    save_inputs(paths[0].parent, digits)
    accuracies = []
    with progress(quiet=quiet, no_color=no_color) as bar:
        for path in paths:
            task = bar.add_task(f"training {path.name}", total=epochs)
            accuracies.append(
                train(
                    path,
                    digits,
                    batch_norm=path.name == _NAMES[1],
                    epochs=epochs,
                    force=force,
                    after_epoch=lambda task=task: bar.advance(task),  # type: ignore[misc]
                )
            )
    return accuracies


def measured(runs: list[StoredRun], accuracies: list[float]) -> list[Trained]:
    """Returns the two networks of the demo with what it compares of them."""
    from icshift.analysis.by_site import summary
    from icshift.analysis.units import typical_unit, wandering
    from icshift.reports.comparison import Trained

    networks = []
    for run, accuracy in zip(runs, accuracies, strict=True):
        last_input = [site.name for site in run.sites if "Sigmoid" in site.feeds][-1]
        summaries = {phase: summary(run, phase=phase) for phase in ("train", "probe")}
        networks.append(Trained(run, accuracy, summaries, typical_unit(run, last_input), wandering(run, last_input)))
    return networks
