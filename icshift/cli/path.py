"""`icshift path`: how far every site went, against how far it came."""

from __future__ import annotations

from icshift.cli import options


def path(
    run: options.RunPath,
    metric: options.Metric = "w1_sd",
    site: options.SiteGlobs = None,
    phase: options.Phase = None,
    top: options.Top = 200,
    json: options.AsJson = False,
    quiet: options.Quiet = False,
    no_color: options.NoColor = False,
) -> None:
    """Show how far every site went from window to window, against how far it came.

    The path is the sum of the drifts between consecutive windows, displaced the drift from the first to the last.
    Their ratio, straightness, tells a trend (near 1) from to and fro (near 0). Best of a probe: sampling noise makes
    paths longer.
    """
    from icshift.analysis.furthest import furthest
    from icshift.analysis.metrics import metric as metric_named
    from icshift.analysis.trajectory import trajectory
    from icshift.cli.output import show
    from icshift.reports.tables import not_shown
    from icshift.reports.trajectory import path_report
    from icshift.runs.reader import StoredRun

    opened = StoredRun(run)
    paths = trajectory(opened, metric_name=metric, phase=phase, sites=site)
    shown = furthest(paths, top, "path")
    left_out = not_shown(len(shown), len(paths), "sites", "those that went furthest")
    show(path_report(opened, shown, metric_named(metric), left_out), json=json, quiet=quiet, no_color=no_color)
