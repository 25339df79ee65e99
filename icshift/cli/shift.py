"""`icshift shift`: is the data that a model sees still the data it was trained on?"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icshift.cli import options
from icshift.cli import saved as models
from icshift.errors import ModelError, RunError
from icshift.reports.run import coverage

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from icshift.inputs.data import Data
    from icshift.inputs.specs import Network
    from icshift.replay.two_data_sets import Measurement, Shift
    from icshift.saved.find import SavedModel


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
        typer.Option("--output", "-o", help="Keep a run here, for report, units and export.", show_default=False),
    ] = None,
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
    from icshift.cli.output import print_text, write_file
    from icshift.reports.tabular import as_csv, to_json

    metric_named(metric, among="data sets")
    _refuse(output, csv, json=json, force=force)
    found, built, notes = _load(checkpoint, model, model_arg, partial=partial, unsafe=unsafe_pickle)
    first, second = (models.read_data(spec, built, batch_size, limit, device, dtype) for spec in (reference, data))
    both = first, second
    measurement, taken = _measure(
        built, both, math.inf if samples == "all" else samples, quiet=quiet, no_color=no_color
    )
    settings = {"samples": samples, "probe_examples": 0, "checkpoint": str(checkpoint)}
    with tempfile.TemporaryDirectory() as folder:
        # Whatever is wrong with the options shows before anything is written where it stays.
        path = Path(folder) / (found.path.resolve().name or "model")
        measurement.write(taken, path, found.label, settings, force=False)
        result = _analyse(path, taken, metric, site, fail_above)
    if csv is not None:
        write_file(csv, as_csv(result.units), force=force)
    if output is not None:
        measurement.write(taken, output, found.label, settings, force=force)
    notes += [_not_finite(one) for one in both if one.nonfinite]
    if json:
        asked = {"checkpoint": str(checkpoint), "metric": metric, **_described(both), "notes": notes}
        print_text(to_json({**asked, **_as_json(result, fail_above)}))
    elif str(csv) != "-":
        heading = [f"{checkpoint} · {type(built).__name__}", _against(both)]
        hints = [] if quiet else [_next_step(output)]
        _show(heading, result, [*notes, *result.missed], metric, fail_above, hints, no_color=no_color)
    if result.above or result.unknown:
        raise typer.Exit(1)


@dataclass(frozen=True, eq=False)
class Result:
    """What was found, in tables; `above` are the sites that exceed the limit, `unknown` those that may or may not."""

    sites: pd.DataFrame
    units: pd.DataFrame
    layers: pd.DataFrame
    above: list[str]
    unknown: list[str]
    missed: list[str]


def _show(
    heading: list[str],
    result: Result,
    notes: list[str],
    metric: str,
    limit: float | None,
    hints: list[str],
    *,
    no_color: bool,
) -> None:
    from icshift.analysis.metrics import METRICS
    from icshift.cli.output import screen

    console = screen(no_color=no_color)

    def lines(texts: list[str], style: str) -> None:
        for text in texts:
            console.print(text, style=style, markup=False, soft_wrap=True)

    lines(heading, "bold")
    print_shift(console, result, metric)
    lines(notes, "yellow")
    lines(_told(result, limit, METRICS[metric].unit), "bold red")
    lines(hints, "dim")


def print_shift(console: Console, result: Result, metric: str) -> None:
    """The tables, and what one must know to read them."""
    from icshift.analysis.metrics import METRICS
    from icshift.reports.two_data_sets import layer_table, site_table

    console.print(site_table(result.sites))
    meaning = METRICS[metric].meaning
    for line in (
        f"drift: {metric}, median over units. {meaning}.",
        "floor: the same by sampling noise alone, from splits of each by example.",
        "shifted: units beyond noise (FDR 5 %). ×input: drift over that of the input.",
        *(["the site before: in the order of the calls."] if _names_order(result.sites) else []),
    ):
        console.print(line, style="dim")
    if len(result.layers):
        console.print()
        console.print("Batch norm: distance of the running statistics from those of", style="bold")
        console.print(layer_table(result.layers))
        for line in (
            "In sd, root mean over units; in brackets what sampling alone would show.",
            "reference, data: of what the layer gets in eval mode.",
            "precise: of the reference, layers normalising by the batch as in training.",
        ):
            console.print(line, style="dim")


def _names_order(sites: pd.DataFrame) -> bool:
    return bool(sites["verdict"].str.contains("the site before").any())


def _refuse(output: Path | None, csv: Path | None, *, json: bool, force: bool) -> None:
    """What would be refused after much work is refused before it."""
    from icshift.runs.writer import refuse_occupied

    if json and str(csv) == "-":
        raise typer.BadParameter("--json and --csv - both go to stdout: give --csv the path of a file")
    if output is not None:
        refuse_occupied(output, force=force)
    if csv is not None and str(csv) != "-" and csv.exists() and not force:
        raise RunError(f"{csv} exists and is kept: choose another path, or --force to replace it")


def _load(
    checkpoint: Path, model: str | None, arguments: list[str] | None, *, partial: bool, unsafe: bool
) -> tuple[SavedModel, Network, list[str]]:
    """The saved model, the model with its weights, and what of it they did not reach, in words."""
    from icshift.saved.find import find
    from icshift.saved.fit import fit
    from icshift.saved.load import load

    found = find([checkpoint])
    if len(found) > 1:
        raise ModelError(f"{checkpoint} holds {len(found)} saved models: give one, as {found[-1].path}")
    built = models.build(model, arguments, found[0], partial=partial, unsafe=unsafe)
    loaded = load(found[0], unsafe=unsafe)
    fitted = fit(built, loaded.state, partial=partial, source=str(checkpoint))
    return found[0], built, [fitted.left] if fitted.left else []


def _measure(
    model: Network, both: tuple[Data, Data], samples: float, *, quiet: bool, no_color: bool
) -> tuple[Measurement, Shift]:
    from icshift.cli.output import progress
    from icshift.model.sites import Sites
    from icshift.replay.two_data_sets import Measurement

    measurement = Measurement(model, *both, Sites(), samples)
    with progress(quiet=quiet, no_color=no_color) as bar:
        task = bar.add_task("forwards", total=measurement.forwards)
        return measurement, measurement.take(lambda: bar.advance(task))


def _analyse(path: Path, taken: Shift, metric: str, site: list[str] | None, limit: float | None) -> Result:
    from icshift.analysis import two_data_sets
    from icshift.analysis.staleness import from_running, staleness
    from icshift.runs.phases import DATA, REFERENCE
    from icshift.runs.reader import Run

    run, phases = Run(path), (REFERENCE, DATA)
    layers = {
        one.name: two_data_sets.Layer(
            one.name,
            from_running(one.running, one.reference, one.eps),
            from_running(one.running, one.data, one.eps),
            staleness(one.running, one.precise, one.eps),
        )
        for one in taken.layers
    }
    found = two_data_sets.shifts(run, taken.parts, phases=phases, metric_name=metric)
    sites = two_data_sets.site_table(run, found, layers, metric_name=metric, sites=site)
    missed = coverage(run).partition(" (")[0]
    return Result(
        sites,
        two_data_sets.unit_table(run, found, phases=phases, metric_name=metric, sites=site),
        two_data_sets.layer_table(layers.values()),
        *(([], []) if limit is None else _above(sites, limit)),
        [missed] if missed else [],
    )


def _above(sites: pd.DataFrame, limit: float) -> tuple[list[str], list[str]]:
    """Sites that drift more than the limit and more than noise, the largest first; and those where noise is unknown."""
    known = sites[sites["n"].notna()]
    beyond = known[(known["shifted"] == 1) & (known["median"] > limit)].sort_values("median", ascending=False)
    return beyond["site"].tolist(), known[known["p"].isna()]["site"].tolist()


def _told(result: Result, limit: float | None, unit: str) -> list[str]:
    """Why the exit code is 1."""
    from icshift.reports.tables import number

    rows = result.sites.set_index("site")
    values = [f"{site} {number(rows['median'][site])} (floor {number(rows['floor'][site])})" for site in result.above]
    unknown = [f"{site}: {rows['verdict'][site]}" for site in result.unknown]
    return [f"above {limit:g} {unit}: {one}" for one in values] + unknown


def _not_finite(data: Data) -> str:
    left_out = data.examples - data.finite().examples
    return (
        f"{data.source}: {data.nonfinite:,} values in {left_out:,} of {data.examples:,} examples are not finite: "
        "left out of drift; these examples, of precise statistics"
    )


def _against(both: tuple[Data, Data]) -> str:
    reference, data = (f"{one.source} ({one.examples:,} examples)" for one in both)
    return f"{data} against {reference}"


def _described(both: tuple[Data, Data]) -> dict[str, Any]:
    return {
        name: {"source": one.source, "examples": one.examples, "nonfinite": one.nonfinite}
        for name, one in zip(("reference", "data"), both, strict=True)
    }


def _as_json(result: Result, limit: float | None) -> dict[str, Any]:
    return {
        "sites": result.sites.to_dict(orient="records"),
        "batch_norm": result.layers.to_dict(orient="records"),
        "fail_above": limit,
        "above": result.above,
        "unknown": result.unknown,
    }


def _next_step(output: Path | None) -> str:
    if output is None:
        return "Next: the same with -o RUN keeps a run for icshift report, units and export"
    return f"Next: icshift report {output} --phase data --reference phase:reference"
