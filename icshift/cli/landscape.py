"""`icshift landscape`: the loss around saved models, its curvature and its contours."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from icshift.cli import options
from icshift.cli import saved as models
from icshift.errors import ModelError, unknown

if TYPE_CHECKING:
    from rich.progress import Progress

    from icshift.inputs.data import Data
    from icshift.inputs.losses import Loss
    from icshift.replay.surface import Surface, Survey
    from icshift.saved.order import SavedModel
    from icshift.saved.snapshots import Snapshot

_PRODUCTS = 60
"""Number of products with the Hessian that five eigenvalues usually take, for the progress bar."""


def landscape(
    saved: Annotated[
        list[Path],
        typer.Argument(metavar="CKPT...", help="A saved model, or several to compare.", show_default=False),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="DATA",
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
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The slice: its contours as .html, .svg, .png or .pdf, its points as .csv, .json or .parquet; may be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random directions.")] = 0,
    batch_size: models.BatchSize = 256,
    limit: models.Limit = None,
    device: models.Device = "cpu",
    dtype: models.Dtype = None,
    key: models.Key = None,
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
    from icshift.cli.output import progress, show
    from icshift.inputs import losses
    from icshift.replay.surface import Asked, Survey
    from icshift.reports.landscape import landscape_report
    from icshift.saved.find import find
    from icshift.saved.load import Wanted

    files = output or []
    _refuse(files, plane, rate, radius, force=force)
    loss_function = losses.loss_named(loss)
    if target is not None and not loss_function.needs_targets:
        raise ModelError("--loss own takes no --target: the model gets every array that its forward has a name for")
    loading = models.Loading(model, model_arg, batch_size, limit, device, dtype, Wanted(key, partial, unsafe_pickle))
    bar = progress(quiet=quiet, no_color=no_color)
    with models.opened(_as_named(find(saved), saved), loading) as opened, bar:
        examples = _examples(data, opened, loss_function, target)
        trajectory = opened.trajectory()
        saved_models = _as_named(trajectory.models, saved)
        wanted = Asked(rate, top, plane, radius, points, seed, eval_mode)
        survey = Survey(opened.model, examples, loss_function, wanted)
        surfaces = _measured(survey, opened.snapshots(saved_models), bar, points**2 if plane != "none" else 0)
        about = {"checkpoints": [str(saved_model.path) for saved_model in saved_models], **survey.about()}
    written = _write(surfaces, files, about, force=force)
    report = landscape_report(about, [surface.as_dict() for surface in surfaces], trajectory.notes, written)
    show(report, json=json, quiet=quiet, no_color=no_color)


def _refuse(files: list[Path], plane: str, rate: float | None, radius: float | None, *, force: bool) -> None:
    """Raises, before any work is done, for numbers that make no sense and for files that cannot be written."""
    from icshift.cli.output import refuse_file, refuse_twice
    from icshift.reports.contour import chart_format

    for name, value in (("--lr", rate), ("--radius", radius)):
        if value is not None and not 0 < value < math.inf:
            raise typer.BadParameter(f"{name} must be a number above 0, got {value:g}")
    refuse_twice(files)
    for path in files:
        suffix = path.suffix.lower()
        if suffix not in (*options.TABLES, *options.PICTURES):
            raise unknown("format of a slice", suffix or "(no suffix)", (*options.TABLES, *options.PICTURES))
        if suffix in options.PICTURES:
            chart_format(suffix)
        if plane == "none":
            raise typer.BadParameter(f"--slice none makes nothing to write to {path}: take hessian or random")
        refuse_file(path, force=force)


def _as_named(saved_models: list[SavedModel], saved: list[Path]) -> list[SavedModel]:
    """Returns the saved models in the order in which their paths were named; those of one directory keep theirs.

    The order matters: the plane of the first is that of all.
    """
    places = [path.resolve() for path in saved]

    def place(saved_model: SavedModel) -> int:
        path = saved_model.path.resolve()
        return next((i for i, named in enumerate(places) if named in (path, *path.parents)), len(places))

    return sorted(saved_models, key=place)


def _examples(data: str, opened: models.Opened, loss: Loss, target: str | None) -> Data:
    """Returns the data that `--data` names, with targets where the loss needs them."""
    from icshift.inputs import targets

    if not loss.needs_targets:
        return opened.data(data)[0]
    return targets.read_with_targets(data, opened.model, opened.reading, target)


def _measured(survey: Survey, waiting: list[Snapshot], bar: Progress, points: int) -> list[Surface]:
    """Returns the measured surface of each saved model, and advances the bar.

    A product with the Hessian counts as ten points of a slice, which take about as long.
    """
    from icshift.reports.tables import counted

    before = 10 * _PRODUCTS
    task = bar.add_task("measuring", total=len(waiting) * (before + points))
    surfaces = []
    for i, snapshot in enumerate(waiting):
        start, done = i * (before + points), dict.fromkeys(("Hessian", "gradient", "slice"), 0)
        bar.update(task, description=f"{snapshot.name}: Hessian", completed=start)

        def after(what: str, name: str = snapshot.name, start: int = start, done: dict[str, int] = done) -> None:
            done[what] += 1
            if what == "Hessian":
                progress = f"Hessian, {counted(done[what], 'product')} of about {_PRODUCTS}"
                bar.update(task, description=f"{name}: {progress}", completed=start + 10 * min(done[what], _PRODUCTS))
            else:
                bar.update(task, description=f"{name}: slice", completed=start + before + done["slice"])

        surfaces.append(survey.measure(snapshot.name, snapshot.put, after))
    return surfaces


def _write(surfaces: list[Surface], files: list[Path], about: dict[str, Any], *, force: bool) -> dict[str, str]:
    """Write the slices to files; returns by their paths what is in them: `Slice`, `Chart`."""
    from icshift.cli.output import write_file
    from icshift.replay.surface import points_table
    from icshift.reports.contour import chart_format
    from icshift.reports.landscape import contours
    from icshift.reports.tabular import by_suffix

    for path in files:
        if path.suffix.lower() in options.TABLES:
            content = by_suffix(path.suffix)(points_table(surfaces))
        else:
            slices = [surface.slice for surface in surfaces if surface.slice is not None]
            grids = [(plane.first, plane.second, plane.losses) for plane in slices]
            drawn = contours(about, [surface.as_dict() for surface in surfaces], grids)
            content = chart_format(path.suffix)(*drawn)
        write_file(path, content, force=force)
    return {str(path): "Slice" if path.suffix.lower() in options.TABLES else "Chart" for path in files}
