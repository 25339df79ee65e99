"""`icshift shift`: is the data that a model sees still the data it was trained on?"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from icshift.cli import options
from icshift.cli import saved as models
from icshift.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from icshift.analysis.checks import Verdict
    from icshift.analysis.conditions import Condition
    from icshift.analysis.two_data_sets import Result
    from icshift.inputs.data import Data
    from icshift.inputs.specs import Network
    from icshift.replay.two_data_sets import Shown, TwoDataSets
    from icshift.reports.two_data_sets import DataSet


def _target(text: str | Path) -> Path:
    """The value of `-o`: a file of units by its suffix, or - for stdout, else the directory of a run."""
    path = Path(text)
    return path if path.suffix.lower() in options.TABLES and not path.is_dir() else options.directory(text)


@dataclass(frozen=True)
class Targets:
    """What `-o` names: directories of runs, and files of units."""

    folders: list[Path]
    tables: list[Path]

    @classmethod
    def of(cls, paths: list[Path]) -> Targets:
        """Returns the targets. Raises `RunError` for one that is named twice."""
        from icshift.cli.output import refuse_twice

        refuse_twice(paths)
        tables = [path for path in paths if str(path) == "-" or (path.suffix.lower() in options.TABLES)]
        return cls([path for path in paths if path not in tables], tables)

    @property
    def to_stdout(self) -> bool:
        """Whether one of them is stdout."""
        return Path("-") in self.tables

    def write_tables(self, units: pd.DataFrame, *, force: bool) -> None:
        """Write the files of units."""
        from icshift.cli.output import write_file
        from icshift.reports.tabular import as_csv, by_suffix

        for path in self.tables:
            render = as_csv if str(path) == "-" else by_suffix(path.suffix)
            write_file(path, render(units), force=force)


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
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="RUN|FILE",
            parser=_target,
            help="Keep a run in this directory, for report, units and export; or write a row a unit: .csv, .json or "
            ".parquet, - for CSV on stdout. May be repeated.",
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
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-on",
            metavar="CONDITION",
            help="Exit with 1 where this is so, as in icshift check; may be repeated.",
            show_default=False,
        ),
    ] = None,
    junit: options.Junit = None,
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

    A condition of --fail-on is one of icshift check, [SITE] QUANTITY COMPARISON LIMIT, on the data against the
    reference; drift stands for the metric that --metric names. What cannot be measured does not pass.

    \b
    icshift shift net.pt --model net.py:Net --reference train.npz --data new.npz
    icshift shift … --fail-on 'drift > 0.5' --fail-on 'moved > 20%'
    icshift shift … --fail-on '(input) drift > 3x floor' --junit shift.xml
    """
    from icshift.analysis.conditions import parse
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.shift_checks import FLOOR
    from icshift.analysis.shift_checks import refuse as refuse_conditions
    from icshift.cli.output import one_on_stdout, show, write_file
    from icshift.reports import two_data_sets as reports
    from icshift.reports.checks import all_passed, cases
    from icshift.reports.junit import as_junit
    from icshift.saved.find import find
    from icshift.saved.load import Wanted

    metric_named(metric, among="data sets")
    conditions = list(dict.fromkeys(parse(text, metric) for text in fail_on or ()))
    refuse_conditions(conditions)
    targets = Targets.of(output or [])
    one_on_stdout("--json" * json, "-o -" * targets.to_stdout, "--junit -" * (str(junit) == "-"))
    _refuse(targets, junit, conditions, force=force)
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
        result, verdicts, missed = _compare(run, shown, metric, site, conditions)
        targets.write_tables(result.units, force=force)
        for path in targets.folders:
            measured.write(shown, path, saved_models[0].label, settings, force=force)
        network = type(opened.model).__name__
    if junit is not None:
        suite = f"icshift shift {checkpoint}, {data} against {reference}, floor from {FLOOR}"
        write_file(junit, as_junit(suite, cases(verdicts)), force=force)
    kept = str(targets.folders[0]) if targets.folders else None
    about = reports.Compared(str(checkpoint), network, _described(both[0]), _described(both[1]), kept)
    if not targets.to_stdout and str(junit) != "-":
        report = reports.two_data_sets_report(about, result, notes, missed, verdicts)
        show(report, json=json, quiet=quiet, no_color=no_color)
    if not all_passed(verdicts):
        raise typer.Exit(1)


def _refuse(targets: Targets, junit: Path | None, conditions: Sequence[Condition], *, force: bool) -> None:
    """Raises, before any work is done, for output that would replace what is there, or that would be empty."""
    from icshift.cli.output import refuse_file
    from icshift.runs.owner import refuse_occupied

    if junit is not None and not conditions:
        raise typer.BadParameter("--junit writes the outcome of conditions: give --fail-on too")
    for path in targets.folders:
        refuse_occupied(path, force=force)
    for path in [*targets.tables, *([junit] if junit else [])]:
        refuse_file(path, force=force)


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


def _compare(
    path: Path, shown: Shown, metric: str, site: list[str] | None, conditions: Sequence[Condition]
) -> tuple[Result, list[Verdict], str]:
    """Returns the comparison of both data sets, the verdicts of the conditions, and a line on modules not measured."""
    from icshift.analysis.shift_checks import verdicts
    from icshift.analysis.two_data_sets import compare
    from icshift.reports.run import coverage
    from icshift.runs.reader import StoredRun

    run = StoredRun(path)
    result = compare(run, shown.parts, shown.layers, metric_name=metric, sites=site)
    return result, verdicts(run, shown.parts, conditions, {metric: result.shifts}), coverage(run).partition(" (")[0]


def _described(data: Data) -> DataSet:
    from icshift.reports.two_data_sets import DataSet

    return DataSet(data.source, data.examples, data.nonfinite, data.examples - data.finite().examples)
