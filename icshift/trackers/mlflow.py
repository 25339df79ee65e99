"""A run in MLflow's store of files, which has numbers but no histograms."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from icshift.trackers.series import Sent, Written, about, keys

if TYPE_CHECKING:
    from icshift.runs.reader import StoredRun

_BATCH = 1000
"""Numbers that it takes at once."""


def write(folder: Path, run: StoredRun, series: Iterable[Sent]) -> Written:
    """Writes one run of the experiment `icshift`; a series is named by its phase, its quantity and its site."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # Both are read when it is imported.
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # From 3.7 on it asks for a database otherwise.
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient(tracking_uri=folder.absolute().as_uri())
    experiment = client.get_experiment_by_name("icshift")
    number = client.create_experiment("icshift") if experiment is None else experiment.experiment_id
    opened = client.create_run(number, run_name=run.name).info.run_id
    now, written = int(1000 * time.time()), 0
    client.log_batch(opened, params=[Param(name, str(value)) for name, value in about(run).items()])
    for of_phase in series:
        for one in of_phase.scalars:
            written += 1
            name = "/".join(map(plain, keys(of_phase, one)))
            pairs = zip(one.steps.tolist(), one.values.tolist(), strict=True)
            metrics = [Metric(name, value, now, step) for step, value in pairs]
            for some in range(0, len(metrics), _BATCH):
                client.log_batch(opened, metrics=metrics[some : some + _BATCH])
    client.set_terminated(opened)
    return Written(written, 0)


def plain(part: str) -> str:
    """Returns a part of a name as MLflow takes it, which makes files of names; others become their numbers in Unicode.

    >>> [plain(part) for part in ("layers.0", "relu#2", "lstm[0]", "val/loss", "..")]
    ['layers.0', 'relu_23_2', 'lstm_5b_0_5d_', 'val:loss', '_2e_2e_']
    """
    if part.strip(".") == "":
        return "_" + "2e_" * len(part)
    return re.sub(r"[^\w.\- :]", lambda found: f"_{ord(found.group()):x}_", part.replace("/", ":"))
