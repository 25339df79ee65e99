"""`icshift selfcheck`: published findings, reproduced on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from icshift.cli import options

if TYPE_CHECKING:
    from icshift.selfcheck.check import Check, Result, Setting

_VERSIONS = ("icshift", "torch", "numpy", "scipy", "scikit-learn")


def selfcheck(
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer steps and networks: some 20 seconds in place of a minute.")
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

    Each check names its source, what was expected and what was measured here, by icshift's own instruments, on small
    networks that are trained for it on the CPU. What the literature shows to depend on network and learning rate is not
    checked. Exits with 0 if all passed, 1 if one failed, 2 for a mistake. The checks are

    \b
    percentiles    inputs of sigmoids move less with batch norm
    learning       batch norm learns in fewer steps
    noise          unsteady distributions, the same accuracy
    deep-linear    gradient shift of a deep linear network
    smoothness     effective beta of the same network
    landscape      loss and gradient along the gradient
    precise        statistics early in a training
    adaptation     statistics of shifted data
    conditioning   Hessian of a model with two weights
    estimators     distances of samples, and their noise
    gaussians      distances of normal distributions
    """
    import time

    from icshift.cli.output import print_text, screen
    from icshift.reports.selfcheck import checks_table
    from icshift.reports.tabular import to_json
    from icshift.selfcheck.check import Setting
    from icshift.selfcheck.runner import checks_named

    setting = Setting(seed, quick)
    started = time.perf_counter()
    results = _run(checks_named(only), setting, quiet=quiet, no_color=no_color)
    seconds = time.perf_counter() - started
    passed = all(result.finding.passed for result in results)
    rows = [_row(result) for result in results]
    if json:
        asked = {"seed": seed, "quick": quick, "seconds": round(seconds, 1), "versions": _versions()}
        print_text(to_json({"passed": passed, **asked, "checks": rows}))
    else:
        console = screen(no_color=no_color)
        console.print(checks_table(rows))
        console.print(_last_line(results, seconds, setting), style="bold", soft_wrap=True)
        if not quiet:
            console.print(_next_step(results, setting), style="dim", soft_wrap=True)
    if not passed:
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


def _row(result: Result) -> dict[str, Any]:
    check, finding = result.check, result.finding
    return {
        "check": check.name,
        "passed": finding.passed,
        "claim": check.claim,
        "source": check.source,
        "expected": check.expected,
        "measured": finding.measured,
        "ran": finding.ran,
        "numbers": dict(finding.numbers),
        "seconds": round(result.seconds, 2),
    }


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    from icshift._version import __version__

    found = {"icshift": __version__}
    for name in _VERSIONS[1:]:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _last_line(results: list[Result], seconds: float, setting: Setting) -> str:
    passed = sum(result.finding.passed for result in results)
    kind = ", quick" if setting.quick else ""
    versions = _versions()
    told = f"icshift {versions['icshift']}, torch {versions['torch']}"
    return f"{passed} of {len(results)} passed · {seconds:.0f} s · seed {setting.seed}{kind} · {told}"


def _next_step(results: list[Result], setting: Setting) -> str:
    failed = [result.check.name for result in results if not result.finding.passed]
    if failed:
        return f"Next: icshift selfcheck --only {failed[0]} --seed {setting.seed + 1}"
    return "Next: icshift selfcheck" if setting.quick else "Next: icshift demo"
