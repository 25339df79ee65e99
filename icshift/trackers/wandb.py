"""A run for Weights & Biases, offline: nothing is sent anywhere before `wandb sync`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icshift.trackers.series import Sent, Written, about, keys

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun


def write(folder: Path, run: StoredRun, series: Iterable[Sent]) -> Written:
    """Writes one run into `folder/wandb`; a series is named by its phase, its quantity and its site."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # Read when it is imported: offline is offline.
    import wandb

    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, save_code=False)
    sent = list(series)
    rows: dict[int, dict[str, Any]] = {}
    for of_phase in sent:
        for one in of_phase.scalars:
            for step, value in zip(one.steps.tolist(), one.values.tolist(), strict=True):
                rows.setdefault(step, {})["/".join(keys(of_phase, one))] = value
        for many in of_phase.histograms:
            for each in many.each:
                shown = wandb.Histogram(np_histogram=(each.counts, each.edges))
                rows.setdefault(each.step, {})["/".join(keys(of_phase, many))] = shown
    opened = wandb.init(
        mode="offline", dir=str(folder), project="icshift", name=run.name, config=about(run), settings=quiet
    )
    try:
        for step in sorted(rows):  # It drops what comes for an earlier step.
            opened.log(rows[step], step=step, commit=True)
    finally:
        opened.finish()
    return Written.all_of(sent)
