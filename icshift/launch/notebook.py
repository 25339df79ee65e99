"""`%load_ext icshift`: a notebook's trainings are recorded from that cell on, as `icshift run` records a script's."""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from icshift.launch.children import disarm
from icshift.launch.launcher import Launcher, Settings
from icshift.runs.format import is_run

_open = ExitStack()
"""Closes the recording of this process."""


def start(shell: Any) -> None:
    """Begin to record what is trained in this process, and give the notebook a magic, `%icshift`, that says what.

    The runs are below `icshift-runs/notebook`, or the first of `notebook-2`, `notebook-3` that holds none.
    """
    disarm()
    target = _free(Path("icshift-runs").absolute())
    launcher = Launcher(Settings(target))
    _open.enter_context(launcher.recording())
    atexit.register(_open.close)
    shell.register_magic_function(lambda _="": print(told(launcher, target)), magic_name="icshift")
    print(f"icshift records what is trained from here on, below {target}; %icshift says what there is")


def stop() -> None:
    """End the recording."""
    _open.close()


def told(launcher: Launcher, target: Path) -> str:
    """What is recorded so far, a line a run, and why other models are not."""
    lines = [
        f"{name}: {type(recorder.model).__name__}, {recorder.steps:,} steps, windows so far: {recorder.windows} "
        f"(icshift report {target / name})"
        for name, recorder in launcher.recorders.items()
    ]
    return "\n".join([*lines, *launcher.missing()]) or "icshift: no optimizer has been made yet that trains a model"


def _free(folder: Path) -> Path:
    for number in count(1):
        target = folder / ("notebook" if number == 1 else f"notebook-{number}")
        if not target.exists() or not any(is_run(path) for path in target.iterdir() if path.is_dir()):
            return target
    raise AssertionError
