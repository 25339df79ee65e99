"""Make docs/demo.svg, the picture at the top of the README: python docs/picture.py"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from rich.console import Console

from icshift.cli.demo import measured, train_all, trainings
from icshift.cli.output import draw
from icshift.demo import EPOCHS
from icshift.reports.demo import networks_report


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        chosen = trainings(Path(folder), seeds=5)
        accuracies = train_all(chosen, epochs=EPOCHS, force=False, quiet=False, no_color=False)
        console = Console(record=True, width=96, file=io.StringIO(), highlight=False, force_terminal=True)
        draw(networks_report(*measured(chosen, accuracies)), console)
        console.save_svg(str(Path(__file__).with_name("demo.svg")), title="icshift demo")


if __name__ == "__main__":
    main()
