"""`icshift watch`: a recording in progress, from another shell."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from icshift.analysis.landed import Landed, Look, Lookout
    from icshift.analysis.metrics import Metric


def watch(
    run: options.RunPath,
    metric: options.Metric = "w1_sd",
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    top: options.Top = 20,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.05, help="Look so often.")] = 1.0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for a run that is not there yet.")] = False,
    json: options.AsJson = False,
    no_color: options.NoColor = False,
) -> None:
    """Watch a recording in progress, from another shell.

    Sites by drift over floor, refreshed as windows land, until the run is finished, or stopped and its process gone, or
    Ctrl-C; the run is only read.
    Where stdout is no terminal, and with --json, it is one line a window.
    """
    try:
        from icshift.analysis.landed import Lookout
        from icshift.analysis.metrics import metric as metric_named
        from icshift.cli.output import screen

        measured = metric_named(metric)
        found = _found(run, every, wait=wait)
        lookout = Lookout(found, metric, phase, site)
        if json or not screen(no_color=no_color).is_terminal:
            _print(lookout, measured, every, json=json)
        else:
            _draw(lookout, measured, every, top=top, no_color=no_color)
    except KeyboardInterrupt:
        # Whoever watches has seen enough: nothing of his was interrupted.
        return


def _found(run: Path, every: float, *, wait: bool) -> Path:
    from icshift.analysis.landed import appeared
    from icshift.cli.output import warn
    from icshift.runs.reader import locate

    if not wait:
        return locate(run)
    if (found := appeared(run)) is None:
        warn([f"{run}: no run yet, waiting for it"], no_color=True)
    while found is None:
        time.sleep(every)
        found = appeared(run)
    return found


def _looks(lookout: Lookout, every: float) -> Iterator[Look | None]:
    """Yields a look each time, None where there is nothing new; ends with the run."""
    from icshift.runs.owner import known_to_have_ended

    last = None
    while True:
        gone = known_to_have_ended(lookout.path)  # Asked before the look: then that sees all there will be.
        look = lookout.look()
        yield look
        last = look or last
        if last is not None and (last.run.finished or (gone and last.run.ending.stopped is not None)):
            return
        time.sleep(every)


def _print(lookout: Lookout, metric: Metric, every: float, *, json: bool) -> None:
    """Print a line a window."""
    from icshift.analysis.landed import silent
    from icshift.cli.output import print_line, warn
    from icshift.reports.tabular import to_json_line
    from icshift.reports.watch import QUIET, quiet_for, window_data, window_line

    said, last = False, None
    for look in _looks(lookout, every):
        last = look or last
        if look is None:
            seconds = silent(lookout.path)
            if not said and seconds >= QUIET:
                warn([f"{lookout.path} is unfinished: {quiet_for(seconds)}; still watching"], no_color=True)
                said = True
            continue
        said = False
        for landed in look.landed:
            if json:
                print_line(to_json_line(window_data(look.run, landed, metric)))
            else:
                print_line(window_line(look.run, landed, metric))
    if last is not None and not last.run.finished:
        warn([f"{lookout.path}: {sentence}" for sentence in last.run.ending.sentences], no_color=True)


def _draw(lookout: Lookout, metric: Metric, every: float, *, top: int, no_color: bool) -> None:
    """Draw where the run stands, again and again at the same place."""
    from rich.live import Live

    from icshift.analysis.landed import silent
    from icshift.cli.output import screen
    from icshift.reports.watch import picture

    windows: list[Landed] = []
    last = None
    console = screen(no_color=no_color)
    with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
        for look in _looks(lookout, every):
            last = look or last
            if last is not None:
                windows += look.landed if look else ()
                shown = 0.0 if last.run.finished else silent(lookout.path)
                live.update(picture(last.run, windows, metric, top=top, silent=shown), refresh=True)
