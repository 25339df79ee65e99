"""`icshift demo`: batch norm and drift on real data, over several seeds, in about a minute."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options

if TYPE_CHECKING:
    from icshift.demo import Training
    from icshift.replicates.compare import RunComparison
    from icshift.reports.demo import Made, Trained

_NAMES = ("plain", "batch-norm")
_MORE = "seeds"
"""The directory of the runs of all seeds but the first."""


def demo(
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            parser=options.directory,
            help="Directory for the runs, the CSV and the page.",
        ),
    ] = Path("icshift-demo"),
    epochs: Annotated[int, typer.Option("--epochs", min=10, help="Passes over the 1,400 training digits.")] = 40,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Trainings of each network; from 5 on there are intervals.")
    ] = 5,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Train and record two small networks over several seeds, then compare them.

    The 3x100 sigmoid network of Ioffe & Szegedy (2015) learns scikit-learn's digits with and without batch norm.
    """
    from icshift.analysis.units import drift_of_phases
    from icshift.cli.output import show, write_file
    from icshift.reports.demo import demo_report
    from icshift.reports.tabular import as_csv
    from icshift.runs.owner import refuse_occupied

    paths = [output / name for name in _NAMES]
    made = _made(output)
    for path in paths:
        refuse_occupied(path, force=force)
    saved = [path.with_suffix(".pt") for path in paths]
    inputs = [output / f"{name}.npz" for name in ("probe", "dimmed", "train")]
    _make_room([made.table, made.saved, made.page, output / _MORE, *saved, *inputs], force=force)
    accuracies = train_all(trainings(output, seeds), epochs=epochs, force=force, quiet=quiet, no_color=no_color)
    networks, compared = measured(trainings(output, seeds), accuracies)
    import pandas as pd

    drifts = pd.concat([drift_of_phases(network.run, ("w1", "w1_sd")) for network in networks], ignore_index=True)
    write_file(made.table, as_csv(drifts), force=force)
    write_file(made.page, _page(networks, compared), force=force)
    show(demo_report(networks, compared, made), quiet=quiet, no_color=no_color)


def _made(output: Path) -> Made:
    from icshift.reports.demo import Made

    named = {"table": "drift.csv", "saved": "checkpoints", "inputs": "probe.npz", "targets": "train.npz"}
    return Made(**{what: output / name for what, name in named.items()}, page=output / "page.html")


def _page(networks: list[Trained], compared: RunComparison) -> bytes:
    """Returns the page of both networks: all seeds side by side, and the first of each whole."""
    from icshift.analysis.metrics import DEFAULT, metric
    from icshift.document import page_of_groups
    from icshift.page.build import Asked

    command = join(["icshift", *sys.argv[1:]])
    firsts = [network.run for network in networks]
    return page_of_groups(compared, firsts, Asked(metric(DEFAULT), "previous", None, None, command))


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


def trainings(output: Path, seeds: int) -> list[Training]:
    """Returns the trainings of the demo: of every seed the plain network and the one with batch norm."""
    from icshift.demo import Training

    folders = [output, *(output / _MORE / str(number) for number in range(2, seeds + 1))]
    return [
        Training(folder / name, batch_norm=name == _NAMES[1], seed=seed, kept=seed == 0)
        for seed, folder in enumerate(folders)
        for name in _NAMES
    ]


def train_all(trainings: list[Training], *, epochs: int, force: bool, quiet: bool, no_color: bool) -> list[float]:
    """Train and record all; returns their test accuracies (0 to 1)."""
    import torch

    from icshift.cli.output import progress
    from icshift.demo import load_digits, save_inputs, train

    # Steps this small gain nothing from a second thread, and lose much when it is busy.
    torch.set_num_threads(1)
    digits = load_digits()
    for training in trainings:
        training.path.parent.mkdir(parents=True, exist_ok=True)
    save_inputs(trainings[0].path.parent, digits)
    accuracies = []
    with progress(quiet=quiet, no_color=no_color) as bar:
        task = bar.add_task("", total=epochs * len(trainings))
        for training in trainings:
            bar.update(task, description=f"training {training.path.name}, seed {training.seed + 1}")
            accuracies.append(
                train(training, digits, epochs=epochs, force=force, after_epoch=lambda: bar.advance(task))
            )
    return accuracies


def measured(trainings: list[Training], accuracies: list[float]) -> tuple[list[Trained], RunComparison]:
    """Returns what the demo shows of the first run of each network, and the comparison of all."""
    from icshift.analysis.units import typical_unit, wandering
    from icshift.replicates.compare import compare
    from icshift.reports.demo import Trained
    from icshift.runs.reader import StoredRun

    runs = [[StoredRun(training.path) for training in trainings[start::2]] for start in range(2)]
    networks = []
    for start, (first, *_) in enumerate(runs):
        last_input = [site.name for site in first.sites if "Sigmoid" in site.feeds][-1]
        typical, wandered = typical_unit(first, last_input), wandering(first, last_input)
        networks.append(Trained(first, accuracies[start::2], typical, wandered))
    return networks, compare(*runs)
