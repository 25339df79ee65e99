"""`icshift selfcheck`: published findings reproduced on this machine, and the instrument against what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options

if TYPE_CHECKING:
    from icshift.selfcheck.check import Check, Result, Setting


def selfcheck(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer steps and networks: half a minute in place of two.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="What all that is random follows from.")] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CHECK", help="Name of a check; may be repeated.", show_default=False),
    ] = None,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Reproduce what the literature found about batch norm and drift, and so check icshift on this machine.

    Each check names its source, what was expected and what was measured here, by icshift's own instruments: on small
    networks that are trained for it on the CPU, and, from conditioning on, on cases whose answer is known. What the
    literature shows to depend on network and learning rate is not checked. Exits with 0 if all passed, 1 if one failed,
    2 for a mistake. The checks are

    \b
    percentiles     inputs of sigmoids move less with batch norm
    learning        batch norm learns in fewer steps
    noise           unsteady distributions, the same accuracy
    deep-linear     gradient shift of a deep linear network
    effective-beta  smoothness at the limit of stability
    smoothness      loss and gradient along the gradient
    precise         statistics early in a training
    adaptation      statistics of shifted data
    conditioning    Hessian of a model with two weights
    estimators      distances of samples, and their noise
    gaussians       distances of normal distributions
    gradient-shift  G and G' of a linear network, by hand
    relations       sliced W2, CKA and displacement
    sketch          quantiles of long streams, without a bias
    floor           noise between windows, against theory
    still           a network that stands still
    shift           sites and units that were shifted
    path            path and displacement there and back
    health          dead, saturated, constant, not finite
    """
    import time

    from icshift.cli.output import show
    from icshift.reports.selfcheck import selfcheck_report
    from icshift.selfcheck.check import Setting
    from icshift.selfcheck.runner import checks_named, versions

    started = time.perf_counter()
    results = _run(checks_named(only), Setting(seed, quick), quiet=quiet, no_color=no_color)
    seconds = time.perf_counter() - started
    asked = {"seed": seed, "quick": quick, "seconds": round(seconds, 1), "versions": versions()}
    show(selfcheck_report([result.as_dict() for result in results], asked), json=json, quiet=quiet, no_color=no_color)
    if not all(result.finding.passed for result in results):
        raise typer.Exit(1)


def _run(checks: list[Check], setting: Setting, *, quiet: bool, no_color: bool) -> list[Result]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

    from icshift.cli.output import progress
    from icshift.selfcheck.runner import run

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    results = []
    with progress(*columns, quiet=quiet, no_color=no_color) as bar:
        task = bar.add_task("", total=len(checks))
        for result in run(checks, setting, before=lambda check: bar.update(task, description=check.name)):
            bar.advance(task)
            results.append(result)
    return results
