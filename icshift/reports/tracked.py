"""The report on what was written for a dashboard, with the command that shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from rich.text import Text

from icshift.reports.report import Report


@dataclass(frozen=True)
class Tracked:
    """How much was written: series of numbers and of histograms, of which phases, and whether windows are at steps."""

    scalars: int
    histograms: int
    phases: tuple[str, ...]
    by_steps: bool


SHOWN_BY: dict[str, Callable[[Path], str]] = {
    "tensorboard": lambda folder: f"tensorboard --logdir {quote(str(folder))}",
    "wandb": lambda folder: f"wandb sync {quote(str(folder))}/wandb/offline-run-*",
    "mlflow": lambda folder: f"MLFLOW_ALLOW_FILE_STORE=true mlflow server --backend-store-uri {quote(str(folder))}",
}
"""The command that shows what was written, by the name of the dashboard."""


def tracked_report(folder: Path, tracker: str, written: Tracked, notes: Sequence[str] = ()) -> Report:
    """Returns the report on a written folder: how much is in it, at what steps, and what shows it."""
    what = f"{written.scalars:,} series of numbers"
    if written.histograms:
        what += f" and {written.histograms:,} of histograms"
    at = (
        "Windows stand at their last step."
        if written.by_steps
        else "Windows stand at their numbers: not every one ends at a later step than the one before it."
    )
    line = f"{folder}: {what} ({', '.join(written.phases)})"
    return Report(
        body=(Text(line, style="dim", no_wrap=True), Text(at, style="dim")),
        notes=tuple(notes),
        next_step=f"Next: {SHOWN_BY[tracker](folder)}",
    )
