"""`icshift landscape`: the loss around saved models, its curvature and its contours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icshift.cli import options
from icshift.cli import saved as models
from icshift.errors import ModelError, RunError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.progress import Progress

    from icshift.inputs.data import Data
    from icshift.inputs.losses import Loss
    from icshift.inputs.specs import Network
    from icshift.replay.checkpoints import Snapshot
    from icshift.replay.surface import Surface, Survey
    from icshift.reports.contour import Panel
    from icshift.saved.find import SavedModel

_PRODUCTS = 60
"""With the Hessian, as many as five eigenvalues usually take."""


def landscape(
    saved: Annotated[
        list[Path],
        typer.Argument(metavar="CKPT...", help="A saved model, or several to compare.", show_default=False),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Inputs with targets: a file of arrays, or package.module:callable.",
            show_default=False,
        ),
    ],
    loss: Annotated[
        str,
        typer.Option(
            "--loss",
            metavar="NAME",
            help="cross_entropy, mse, … as in torch.nn.functional; package.module:function of output and target; "
            "or own, what the model computes itself.",
            show_default=False,
        ),
    ],
    model: models.Model = None,
    model_arg: models.ModelArguments = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="The array or column that holds the targets; by default target, label, y or class.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            "--lr",
            metavar="RATE",
            help="The learning rate: with it, λ·lr and smoothness along the gradient.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many eigenvalues of the Hessian.")] = 5,
    plane: Annotated[
        Literal["hessian", "random", "none"],
        typer.Option("--slice", help="Plane of the slice: top two eigenvectors, or filter-normalised random ones."),
    ] = "hessian",
    radius: Annotated[
        float | None,
        typer.Option(
            "--radius",
            help="How far the slice goes along either direction, in their lengths; by default 1 of random ones, and "
            "along eigenvectors where the quadratic at the model doubles the loss, but no further than its weights "
            "are long.",
            show_default=False,
        ),
    ] = None,
    points: Annotated[int, typer.Option("--points", min=3, max=201, help="Points of the slice along either.")] = 21,
    eval_mode: Annotated[
        bool, typer.Option("--eval-mode", help="Batch norm by its running averages; else by the batch, as in training.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The slice as data: .csv, .json or .parquet.", show_default=False),
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option("--chart", help="Its contours: .html, .svg, .png or .pdf.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random directions.")] = 0,
    batch_size: models.BatchSize = 256,
    limit: models.Limit = None,
    device: models.Device = "cpu",
    dtype: models.Dtype = None,
    partial: models.Partial = False,
    unsafe_pickle: models.UnsafePickle = False,
    json: options.AsJson = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Measure the loss around saved models.

    Its curvature (eigenvalues of the Hessian), what steps along the gradient meet, and a slice of it with contours.
    Of several models all slices lie in the plane of the first, and the report says how the loss moved.

    \b
    icshift landscape net.pt --model net.py:Net --data train.npz --loss cross_entropy --lr 0.1
    """
    from icshift.cli.output import progress
    from icshift.inputs import losses
    from icshift.replay.checkpoints import same_draws, snapshots
    from icshift.replay.surface import Asked, Survey
    from icshift.reports.landscape import not_finite
    from icshift.saved.find import find

    _refuse(output, chart, plane, rate, radius, force=force)
    measured = losses.loss_named(loss)
    if target is not None and not measured.needs_targets:
        raise ModelError("--loss own takes no --target: the model gets every array that its forward has a name for")
    found = _as_named(find(saved), saved)
    with same_draws():
        built = models.build(model, model_arg, found[0], partial=partial, unsafe=unsafe_pickle)
    bar = progress(quiet=quiet, no_color=no_color)
    with models.as_it_was(built, model), bar:
        read = _read(data, built, measured, target, (batch_size, limit, device, dtype))
        waiting = snapshots(found, built, partial=partial, unsafe=unsafe_pickle)
        notes = [f"{one.name}: {left}" for one in waiting if (left := one.fits(built))]
        survey = Survey(built, read, measured, Asked(rate, top, plane, radius, points, seed, eval_mode))
        surfaces = _measured(survey, waiting, bar, points**2 if plane != "none" else 0)
        notes += [note for one in surfaces for note in not_finite(one.as_dict())]
        about = _about(built, survey, measured, [str(one.path) for one in found], eval_mode=eval_mode)
    if read.nonfinite:
        left_out = read.examples - survey.data.examples
        notes.append(f"{data}: {left_out:,} examples with values that are not finite are left out")
    _write(surfaces, output, chart, about, force=force)
    _tell(surfaces, about, notes, (output, chart), json=json, quiet=quiet, no_color=no_color)


def _refuse(
    output: Path | None, chart: Path | None, plane: str, rate: float | None, radius: float | None, *, force: bool
) -> None:
    """What would be refused after much work is refused before it."""
    from icshift.reports.contour import chart_format
    from icshift.reports.tabular import by_suffix

    for name, value in (("--lr", rate), ("--radius", radius)):
        if value is not None and not 0 < value < math.inf:
            raise typer.BadParameter(f"{name} must be a number above 0, got {value:g}")
    for path, known in ((output, by_suffix), (chart, chart_format)):
        if path is None:
            continue
        known(path.suffix)
        if plane == "none":
            raise typer.BadParameter(f"--slice none makes nothing to write to {path}: take hessian or random")
        if path.exists() and not force:
            raise RunError(f"{path} exists and is kept: choose another path, or --force to replace it")
        if not path.parent.is_dir():
            raise RunError(f"{path} cannot be written: there is no directory {path.parent}")
    if output is not None and output == chart:
        raise typer.BadParameter("--output and --chart are the same file")


def _as_named(found: list[SavedModel], saved: list[Path]) -> list[SavedModel]:
    """In the order in which they were named, the first one's plane being that of all; within a directory as it is."""
    places = [path.resolve() for path in saved]

    def place(one: SavedModel) -> int:
        path = one.path.resolve()
        return next((i for i, named in enumerate(places) if named in (path, *path.parents)), len(places))

    return sorted(found, key=place)


def _read(data: str, model: Network, loss: Loss, target: str | None, how: tuple[Any, ...]) -> Data:
    from icshift.inputs import targets
    from icshift.inputs.data import Reading, place

    if not loss.needs_targets:
        return models.read_data(data, model, *how)
    reading = Reading(*how)
    place(model, reading)
    return targets.read_with_targets(data, model, reading, target)


def _measured(survey: Survey, waiting: list[Snapshot], bar: Progress, points: int) -> list[Surface]:
    """Each in turn; a product with the Hessian costs about what ten points of a slice do."""
    from icshift.reports.landscape import counted

    before = 10 * _PRODUCTS
    task = bar.add_task("measuring", total=len(waiting) * (before + points))
    surfaces = []
    for i, one in enumerate(waiting):
        start, done = i * (before + points), dict.fromkeys(("Hessian", "gradient", "slice"), 0)
        bar.update(task, description=f"{one.name}: Hessian", completed=start)

        def after(what: str, name: str = one.name, start: int = start, done: dict[str, int] = done) -> None:
            done[what] += 1
            if what == "Hessian":
                said = f"Hessian, {counted(done[what], 'product')} of about {_PRODUCTS}"
                bar.update(task, description=f"{name}: {said}", completed=start + 10 * min(done[what], _PRODUCTS))
            else:
                bar.update(task, description=f"{name}: slice", completed=start + before + done["slice"])

        surfaces.append(survey.measure(one.name, one.put, after))
    return surfaces


def _about(model: Network, survey: Survey, loss: Loss, paths: list[str], *, eval_mode: bool) -> dict[str, Any]:
    """What all numbers depend on."""
    from icshift.inputs.batches import length
    from icshift.replay.surface import normalises_by_batch

    return {
        "checkpoints": paths,
        "network": type(model).__name__,
        "data": survey.data.source,
        "examples": survey.data.examples,
        "batches": len(survey.data.batches),
        "batch_size": max(map(length, survey.data.batches)),
        "loss_function": loss.name,
        "batch_norm": None if not normalises_by_batch(model) else "running averages" if eval_mode else "batch",
    }


def _write(
    surfaces: list[Surface], output: Path | None, chart: Path | None, about: dict[str, Any], *, force: bool
) -> None:
    from icshift.cli.output import write_file
    from icshift.reports.contour import chart_format
    from icshift.reports.landscape import counted
    from icshift.reports.tabular import by_suffix

    if output is not None:
        write_file(output, by_suffix(output.suffix)(_points(surfaces)), force=force)
    if chart is not None:
        told = [_mode(about)]
        told += ["α, β = 1: as long as the weights"] * (surfaces[0].asked.plane == "random")
        told += ["each panel has its own lines, colours are shared"] * (len(surfaces) > 1)
        title = [f"{_loss_in_words(about)} of {counted(about['examples'], 'example')}", " · ".join(told)]
        panels = [_panel(one, surfaces) for one in surfaces]
        write_file(chart, chart_format(chart.suffix)(panels, _axes(surfaces[0]), title), force=force)


def _points(surfaces: list[Surface]) -> pd.DataFrame:
    """A row a point of a slice, the model itself among them."""
    import pandas as pd

    rows: list[tuple[str, float, float, float]] = []
    for one in surfaces:
        around = one.slice
        if around is None:
            continue
        grid = [
            (one.name, float(alpha), float(beta), float(around.losses[i, j]))
            for i, alpha in enumerate(around.first)
            for j, beta in enumerate(around.second)
        ]
        rows += grid if any(a == b == 0 for _, a, b, _ in grid) else [(one.name, 0.0, 0.0, one.loss), *grid]
    return pd.DataFrame(rows, columns=["model", "alpha", "beta", "loss"])


def _panel(one: Surface, surfaces: list[Surface]) -> Panel:
    """The slice of one model, with the place of the others in the plane of the first."""
    from icshift.reports.contour import MINIMUM, MODEL, OTHER, Mark, Panel

    around = one.slice
    assert around is not None
    marks = [Mark(MODEL, 0.0, 0.0, one.name)]
    alpha, beta, lowest = around.minimum
    if math.isfinite(lowest):
        marks.append(Mark(MINIMUM, alpha, beta, f"minimum {lowest:.3g}"))
    if one is surfaces[0]:
        marks += [
            Mark(OTHER, *other.moved.place, other.name)
            for other in surfaces
            if other.moved is not None and other.moved.place is not None
        ]
    return Panel(one.name, around.first, around.second, around.losses.T, around.lengths, marks)


def _axes(one: Surface) -> tuple[str, str]:
    if one.asked.plane == "hessian":
        return "α: distance along the top eigenvector", "β: distance along the second"
    return "α: along a random direction", "β: along another random direction"


def _loss_in_words(about: dict[str, Any]) -> str:
    return "the model's own loss" if about["loss_function"] == "own" else str(about["loss_function"])


def _mode(about: dict[str, Any]) -> str:
    return {
        None: "no batch norm",
        "batch": "batch norm by the batch, as in training",
        "running averages": "batch norm by its running averages",
    }[about["batch_norm"]]


def _tell(
    surfaces: list[Surface],
    about: dict[str, Any],
    notes: list[str],
    written: tuple[Path | None, Path | None],
    *,
    json: bool,
    quiet: bool,
    no_color: bool,
) -> None:
    from icshift.cli.output import print_text, screen
    from icshift.reports.landscape import counted, explained, next_step
    from icshift.reports.tabular import to_json

    found = [one.as_dict() for one in surfaces]
    if json:
        print_text(to_json({**about, "models": found, "notes": notes}))
        return
    console = screen(no_color=no_color)

    def lines(texts: list[str], style: str) -> None:
        for text in texts:
            console.print(text, style=style, markup=False, soft_wrap=True)

    batches = "one batch" if about["batches"] == 1 else f"{about['batches']} batches of at most {about['batch_size']}"
    more = f" and {len(surfaces) - 1} more" if len(surfaces) > 1 else ""
    lines([f"{about['checkpoints'][0]}{more} · {about['network']}, {_loss_in_words(about)}"], "bold")
    examples = counted(about["examples"], "example")
    lines([f"{examples} of {about['data']} in {batches}", f"{_mode(about)}; dropout off"], "")
    _tables(console, found)
    lines(explained(found), "dim")
    lines(notes, "yellow")
    lines([f"{what} in {path}" for what, path in zip(("Slice", "Chart"), written, strict=True) if path], "")
    if not quiet:
        lines([next_step(found, charted=written[1] is not None)], "dim")


def _tables(console: Console, found: list[dict[str, Any]]) -> None:
    from icshift.reports.landscape import facts_table, models_table, moved_table

    if len(found) == 1:
        console.print(facts_table(found[0]))
        return
    console.print(models_table(found))
    minima = "" if found[0]["slice"] is None else ", and the minima of their slices"
    console.print(f"How far they are from {found[0]['model']}{minima}", style="bold")
    console.print(moved_table(found))
