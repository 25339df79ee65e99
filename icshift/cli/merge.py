"""`icshift merge`: windows of several processes, merged once and for all."""

from __future__ import annotations

from icshift.cli import options


def merge(
    run: options.RunPath,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Merge the windows of a distributed training once and for all.

    Each process writes windows of its own, which every command puts together when it reads them. Merged ones lie beside
    them, in the folder merged of the run, and are read in their place as long as the others do not change: every
    command shows the same numbers, and is as fast as on a run of one process. The folder may be deleted at any time.
    """
    from icshift.cli.output import progress, show
    from icshift.reports.merged import merged_report
    from icshift.runs.reader import StoredRun

    opened = StoredRun(run)
    with progress(quiet=quiet, no_color=no_color) as bar:
        done = list(bar.track(opened.merge(), total=len(opened.window_list), description="windows"))
    show(merged_report(opened, sum(new for _, new in done), len(done)), json=json, quiet=quiet, no_color=no_color)
