"""What a screen shows of a report, and runs for reports to be about."""

import io
from dataclasses import asdict

from rich.console import Console

from icshift.cli.output import draw
from icshift.runs.format import Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording


def shown(report, width=80):
    """The lines of the report, without its next step, on a screen of that width."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False)
    draw(report, console)
    return console.file.getvalue().splitlines()


def words(report, width=80):
    """All of it with single spaces."""
    return " ".join(" ".join(shown(report, width)).split())


def run_of(path, windows, *, sites, **manifest):
    """A run of windows, each a mapping of (phase, site name) to a distribution; `manifest` says more of it."""
    settings = {"samples": 64, "probe_examples": 0}
    about = {"model": "Net", "ledger": [], "settings": settings, "sites": [asdict(one) for one in sites], **manifest}
    by_name = {one.name: one for one in sites}
    recording = Recording(path, about)
    for number, distributions in enumerate(windows, start=1):
        window = Window(number, f"epoch {number}", 10 * number - 10, 10 * number - 1, closed=True)
        recording.write_window(window, {(phase, by_name[name]): one for (phase, name), one in distributions.items()})
    recording.finish({})
    return StoredRun(path)
