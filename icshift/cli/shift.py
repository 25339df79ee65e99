"""`icshift shift`: is the data that a model sees still the data it was trained on?"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icshift.cli import options
from icshift.cli import saved as models
from icshift.errors import ModelError

if TYPE_CHECKING:
    from icshift.analysis.two_data_sets import Result
    from icshift.inputs.data import Data
    from icshift.inputs.specs import Network
    from icshift.replay.two_data_sets import Shown, TwoDataSets
    from icshift.reports.two_data_sets import DataSet


def shift(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CKPT", help="A saved model: a file or a directory.", show_default=False)
    ],
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="DATA",
            help="What it was trained on: a file of arrays, or package.module:callable.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str, typer.Option("--data", metavar="DATA", help="What it sees now, in the same form.", show_default=False)
    ],
    model: models.Model = None,
    model_arg: models.ModelArguments = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            parser=options.directory,
            help="Keep a run here, for report, units and export.",
            show_default=False,
        ),
    ] = None,
    target: models.Target = None,
    batch_size: models.BatchSize = 256,
    limit: models.Limit = None,
    device: models.Device = "cpu",
    dtype: models.Dtype = None,
    samples: options.SamplesOfForward = "1024",
    site: options.SiteGlobs = None,
    metric: options.Metric = "w1_sd",
    fail_above: Annotated[
        float | None,
        typer.Option(
            "--fail-above",
            metavar="X",
            min=0.0,
            help="Exit with 1 if the drift of a shifted site is more than this, in the metric's unit.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="A CSV file, a row a unit, or - for stdout.", show_default=False),
    ] = None,
    key: models.Key = None,
    partial: models.Partial = False,
    unsafe_pickle: models.UnsafePickle = False,
    json: options.AsJson = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Compare what a model shows of two data sets.

    Is the data that it sees still the data it was trained on? The drift of every site, the inputs first, with what
    sampling alone would show; where the shift is amplified or absorbed; and how far the statistics that batch norm
    uses are from those of the data. Both are sent through the model in eval mode.

    \b
    icshift shift net.pt --model net.py:Net --reference train.npz --data new.npz
    """
    from icshift.analysis.metrics import metric as metric_named
    from icshift.cli.output import show, write_file
    from icshift.reports import two_data_sets as reports
    from icshift.reports.tabular import as_csv
    from icshift.saved.find import find
    from icshift.saved.load import Wanted

    metric_named(metric, among="data sets")
    _refuse(output, csv, json=json, force=force)
    saved_models = find([checkpoint])
    if len(saved_models) > 1:
        raise ModelError(f"{checkpoint} holds {len(saved_models)} saved models: give one, as {saved_models[-1].path}")
    loading = models.Loading(model, model_arg, batch_size, limit, device, dtype, Wanted(key, partial, unsafe_pickle))
    settings = {"samples": samples, "probe_examples": 0, "checkpoint": str(checkpoint)}
    with models.opened(saved_models, loading) as opened, tempfile.TemporaryDirectory() as folder:
        notes = opened.trajectory().notes
        opened.snapshots(saved_models)[0].put(opened.model)
        (first, left_of_first), (second, left_of_second) = opened.data(reference, target), opened.data(data, target)
        both, notes = (first, second), [*notes, *left_of_first, *left_of_second]
        measured, shown = _replay(opened.model, both, samples, quiet=quiet, no_color=no_color)
        # Whatever is wrong with the options shows before anything is written where it stays.
        run = Path(folder) / (saved_models[0].path.resolve().name or "model")
        measured.write(shown, run, saved_models[0].label, settings, force=False)
        result, missed = _compare(run, shown, metric, site, fail_above)
        if csv is not None:
            write_file(csv, as_csv(result.units), force=force)
        if output is not None:
            measured.write(shown, output, saved_models[0].label, settings, force=force)
        network, kept = type(opened.model).__name__, None if output is None else str(output)
    about = reports.Compared(str(checkpoint), network, _described(both[0]), _described(both[1]), kept)
    if json or str(csv) != "-":
        report = reports.two_data_sets_report(about, result, notes, missed)
        show(report, json=json, quiet=quiet, no_color=no_color)
    if result.above or result.unknown:
        raise typer.Exit(1)


def _refuse(output: Path | None, csv: Path | None, *, json: bool, force: bool) -> None:
    """Raises, before any work is done, for output that would be mixed or that would replace what is there."""
    from icshift.cli.output import refuse_file
    from icshift.runs.writer import refuse_occupied

    if json and str(csv) == "-":
        raise typer.BadParameter("--json and --csv - both go to stdout: give --csv the path of a file")
    if output is not None:
        refuse_occupied(output, force=force)
    if csv is not None:
        refuse_file(csv, force=force)


def _replay(
    model: Network, both: tuple[Data, Data], samples: int | Literal["all"], *, quiet: bool, no_color: bool
) -> tuple[TwoDataSets, Shown]:
    from icshift.cli.output import progress
    from icshift.model.sites import Sites
    from icshift.replay.two_data_sets import TwoDataSets

    measured = TwoDataSets(model, *both, Sites(), math.inf if samples == "all" else samples)
    with progress(quiet=quiet, no_color=no_color) as bar:
        task = bar.add_task("forwards", total=measured.forwards)
        return measured, measured.replay(lambda: bar.advance(task))


def _compare(path: Path, shown: Shown, metric: str, site: list[str] | None, limit: float | None) -> tuple[Result, str]:
    """Returns the comparison of both data sets, and a line on modules that were not measured (empty if none)."""
    from icshift.analysis.two_data_sets import compare
    from icshift.reports.run import coverage
    from icshift.runs.reader import StoredRun

    run = StoredRun(path)
    result = compare(run, shown.parts, shown.layers, metric_name=metric, sites=site, limit=limit)
    return result, coverage(run).partition(" (")[0]


def _described(data: Data) -> DataSet:
    from icshift.reports.two_data_sets import DataSet

    return DataSet(data.source, data.examples, data.nonfinite, data.examples - data.finite().examples)
