"""Saved models of one training, one after the other on the same inputs, as the windows of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from icshift.capture.data import Data
from icshift.capture.manifest import beginning
from icshift.capture.observer import PROBE, PROBE_TRAIN
from icshift.capture.precise import precise_statistics, using
from icshift.capture.ranks import this_process
from icshift.capture.replayer import Replayer
from icshift.capture.sites import Sites
from icshift.errors import RunError
from icshift.recording import Recording
from icshift.run import Run, Window, is_run

PROBE_PRECISE = "probe-precise"
"""The same inputs while batch normalisation uses statistics computed from all of them."""


@dataclass(frozen=True)
class Snapshot:
    """A saved model: its name, the step it was saved at where that is known, and what puts it into a model.

    `fits` says without doing so what would be left at its initialisation ("": nothing); both raise `ModelError` where
    it does not fit.
    """

    name: str
    step: int | None
    fits: Callable[[nn.Module], str]
    put: Callable[[nn.Module], None]


@dataclass(frozen=True)
class Replaying:
    """What is recorded of every saved model.

    `batch_statistics`: also with batch normalisation by the batch (phase `probe-train`). `precise`: also with
    statistics computed from all of the inputs (phase `probe-precise`).
    """

    sites: Sites
    samples: int | Literal["all"] = 1024
    batch_statistics: bool = False
    precise: bool = False


class Series:
    """A run that is made of saved models; several processes share them out and exchange nothing."""

    def __init__(self, model: nn.Module, snapshots: Sequence[Snapshot], data: Data, how: Replaying) -> None:
        self._model = model
        self._snapshots = snapshots
        self._data = data
        self._how = how
        self._rank, self._ranks = this_process()
        self._done: frozenset[int] = frozenset()

    @property
    def waiting(self) -> list[int]:
        """Numbers, from 1, of the windows that are this process's to record and are not recorded yet."""
        own = range(1 + self._rank, len(self._snapshots) + 1, self._ranks)
        return [index for index in own if index not in self._done]

    def create(self, path: Path, *, force: bool) -> Recording:
        """A new run. Raises `RunError` if the path exists, unless `force` and it is a run."""
        return Recording(path, self._manifest(), force=force, rank=self._rank, ranks=self._ranks)

    def resume(self, path: Path) -> Recording:
        """Go on with the run at `path`, or begin it; what it has is not done again.

        Raises `RunError` where it was made of other inputs or options, or where its windows are other models.
        """
        if not is_run(path):
            return self.create(path, force=False)
        run, manifest = Run(path), self._manifest()
        for name, now in {"model": manifest["model"], **manifest["settings"]}.items():
            then = run.manifest["model"] if name == "model" else run.manifest["settings"].get(name)
            if then != now:
                raise RunError(f"{path} was recorded with {name} {then}, not {now}: give the same, or another run")
        for window in run.window_list:
            there = self._snapshots[window.index - 1].name if window.index <= len(self._snapshots) else "nothing"
            if there != window.name:
                raise RunError(
                    f"window {window.index} of {path} is {window.name}, now {there} comes there: name all models"
                )
        self._done = frozenset(window.index for window in run.window_list if window.closed)
        known = {key: run.manifest[key] for key in ("created", "sites", "ledger")}
        return Recording.reopened(path, {**manifest, **known}, rank=self._rank, ranks=self._ranks)

    def record(self, recording: Recording, after: Callable[[], None]) -> None:
        """Replay every model that is waiting, a window each; `after` is called after each."""
        how = self._how
        samples = math.inf if how.samples == "all" else how.samples
        state: dict[str, Any] = {}
        with Replayer(self._model, how.sites, samples) as replayer:
            for index in self.waiting:
                snapshot = self._snapshots[index - 1]
                snapshot.put(self._model)
                replayer.replay(self._data, PROBE)
                if how.batch_statistics:
                    replayer.replay(self._data, PROBE_TRAIN, batch_statistics=True)
                if how.precise:
                    with using(self._model, precise_statistics(self._model, self._data.batches)):
                        replayer.replay(self._data, PROBE_PRECISE)
                step = index - 1 if snapshot.step is None else snapshot.step
                recording.write_window(Window(index, snapshot.name, step, step, closed=True), replayer.taken())
                state = replayer.state()
                recording.update(state)
                after()
        recording.finish(state)

    def _manifest(self) -> dict[str, Any]:
        how, data = self._how, self._data
        settings = {
            "samples": how.samples,
            "window_steps": None,
            "max_units": how.sites.max_units,
            "probe_examples": data.examples,
            "probe_nonfinite": data.nonfinite,
            "probe_fingerprint": data.fingerprint,
            "sites": None if how.sites.select is None else [str(one) for one in how.sites.select],  # type: ignore[union-attr]
            "phases": [PROBE] + [PROBE_TRAIN] * how.batch_statistics + [PROBE_PRECISE] * how.precise,
        }
        return beginning(self._model, settings)
