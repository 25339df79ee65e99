"""Make docs/demo.svg, the picture at the top of the README: python docs/picture.py"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from rich.console import Console

from icshift.cli.demo import measured, train_both
from icshift.cli.output import draw
from icshift.reports.comparison import comparison_report
from icshift.runs.reader import StoredRun


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("plain", "batch-norm")]
        accuracies = train_both(paths, epochs=200, force=False, quiet=False, no_color=False)
        console = Console(record=True, width=96, file=io.StringIO(), highlight=False, force_terminal=True)
        draw(comparison_report(measured([StoredRun(path) for path in paths], accuracies)), console)
        console.save_svg(str(Path(__file__).with_name("demo.svg")), title="icshift demo")


if __name__ == "__main__":
    main()
