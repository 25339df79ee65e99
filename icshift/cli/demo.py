"""`icshift demo`: batch norm and drift on real data, in under a minute."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options
from icshift.errors import RunError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, RenderableType

    from icshift.runs.reader import Run

_NAMES = ("plain", "batch-norm")


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory for the two runs and the CSV.")] = Path(
        "icshift-demo"
    ),
    epochs: Annotated[int, typer.Option("--epochs", min=10, help="Passes over the 1,400 training digits.")] = 200,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Train and record two small networks, then compare them.

    The 3x100 sigmoid network of Ioffe & Szegedy (2015) learns scikit-learn's digits with and without batch norm.
    """
    from icshift.analysis.drift import drift
    from icshift.cli.output import screen, write_file
    from icshift.reports.tabular import as_csv
    from icshift.runs.reader import Run
    from icshift.runs.writer import refuse_existing

    paths = [output / name for name in _NAMES]
    table = output / "drift.csv"
    for path in paths:
        refuse_existing(path, force=force)
    saved = [path.with_suffix(".pt") for path in paths]
    inputs = [output / f"{name}.npz" for name in ("probe", "dimmed", "train")]
    _make_room([output / "checkpoints", *saved, *inputs], force=force)
    accuracies = train_both(paths, epochs=epochs, force=force, quiet=quiet, no_color=no_color)
    runs = [Run(path) for path in paths]
    import pandas as pd

    frames = [drift(run, metrics=("w1", "w1_sd"), phase=phase) for run in runs for phase in run.phases]
    write_file(table, as_csv(pd.concat(frames, ignore_index=True)), force=force)
    console = screen(no_color=no_color)
    print_comparison(console, runs, accuracies)
    console.print()
    console.print(f"Runs {paths[0]} and {paths[1]}, drift of every unit in {table}", soft_wrap=True)
    console.print(
        f"Saved models in {output / 'checkpoints'}, inputs for these in {inputs[0]}, with targets in {inputs[2]}",
        soft_wrap=True,
    )
    if not quiet:
        console.print(f"Next: icshift report {paths[0]}", style="dim", soft_wrap=True)


def _make_room(made: list[Path], *, force: bool) -> None:
    """Refuse, or with `force` delete, what an earlier demo has left."""
    for path in filter(Path.exists, made):
        if not force:
            raise RunError(f"{path} exists and is kept: choose another -o, or --force to replace it")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def train_both(paths: list[Path], *, epochs: int, force: bool, quiet: bool, no_color: bool) -> list[float]:
    """Train and record the plain network and the one with batch norm; gives their test accuracies."""
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


def print_comparison(console: Console, runs: list[Run], accuracies: list[float]) -> None:
    """Both runs side by side: drift by site, percentiles of one unit each, and what was measured in words."""
    from rich.columns import Columns

    from icshift.analysis.by_site import summary
    from icshift.cli.info import overhead
    from icshift.reports.drift import comparison_table, facts

    before, last = (window.name for window in runs[0].window_list[-2:])
    for phase, meaning in (
        ("train", "stream: training batches as they came; floor is the drift of sampling noise alone"),
        ("probe", "probe: the same 512 images in every window, eval mode, so no sampling noise"),
    ):
        summaries = [summary(run, phase=phase) for run in runs]
        console.print(f"Drift, {last} against {before}: w1_sd in sd, median over units", style="bold")
        console.print(meaning, style="dim")
        console.print(comparison_table(_NAMES, summaries))
    console.print(
        "† Mean and sd are set by the layer's own weight and bias there: only a change of shape is news.", style="dim"
    )
    console.print()
    console.print(
        "A typical input of the last hidden sigmoids: 15th, 50th, 85th percentile of every step's batch", style="bold"
    )
    console.print(Columns([_ribbon(run, (console.width - 4) // 2) for run in runs], padding=(0, 2)))
    console.print()
    words = []
    for name, run, accuracy in zip(_NAMES, runs, accuracies, strict=True):
        lines = [f"test accuracy {accuracy:.3f} on 397 digits", _percentiles_in_words(run), overhead(run)]
        words += [(name if not i else "", line) for i, line in enumerate(lines)]
    console.print(facts(words))
    console.print(
        "One data set and one seed: this is what was measured here, not whether it is why batch norm works.",
        style="dim",
    )


def _last_input(run: Run) -> str:
    """The site that feeds the last hidden sigmoid."""
    return [site.name for site in run.sites if "Sigmoid" in site.feeds][-1]


def _typical_unit(run: Run) -> pd.DataFrame:
    """The step series of the unit whose median has the middle range of all units of the last hidden layer."""
    steps = run.steps(phase="train", sites=[_last_input(run)])
    ranges = steps.groupby("unit")["q50"].agg(lambda median: median.max() - median.min()).sort_values()
    return steps[steps["unit"] == ranges.index[len(ranges) // 2]].reset_index(drop=True)


def _ribbon(run: Run, width: int) -> RenderableType:
    from rich.console import Group

    from icshift.cli.units import ribbon

    series = _typical_unit(run)
    title = f"{run.name} · {series['site'].iloc[0]} unit {series['unit'].iloc[0]}, n ≤ {series['count'].max()} a step"
    return Group(title, ribbon(series, width=width - 9, height=11))


def _percentiles_in_words(run: Run) -> str:
    """How far medians of the last hidden layer wandered, and what became of their spread: medians over units."""
    site = _last_input(run)
    windows = run.windows()
    here = windows[(windows["site"] == site) & (windows["phase"] == "train")]
    wandered = here.groupby("unit")["q50"].agg(lambda median: median.max() - median.min()).median()
    spread = here.groupby("window")["std"].median()
    return (
        f"{site}: a unit's median wandered over {wandered:.2f}, its sd went {spread.iloc[0]:.2f} "
        f"to {spread.iloc[-1]:.2f}"
    )
