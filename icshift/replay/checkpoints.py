"""A run made of the saved models of one training: one after the other gets the same inputs, a window each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from icshift.errors import ModelError, RecordingError, RunError
from icshift.hooks.batch_norm import averaging, probe_statistics
from icshift.hooks.manifest import beginning
from icshift.hooks.unmasked import joined
from icshift.inputs.data import Data
from icshift.model.parameters import Parameters
from icshift.model.processes import this_process
from icshift.model.sites import Sites
from icshift.replay.replayer import Replayer
from icshift.runs import interrupts
from icshift.runs.format import SHARES_INPUTS, Window, is_run
from icshift.runs.owner import refuse_occupied
from icshift.runs.phases import PROBE, PROBE_BATCH, PROBE_RUNNING, PROBE_STATISTICS, RUNNING_AVERAGES
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from icshift.saved.snapshots import Snapshot

_DECISIVE = {
    "ranks": "number of processes",
    "model": "model",
    "parameters": "number of parameters",
    "model_arguments": "--model-arg",
    PROBE_STATISTICS: "kind of statistics for batch norm in the phase probe",
    "phases": "choice of phases",
    "sites": "--site",
    "samples": "--samples",
    "max_units": "number of units",
    "device": "device",
    "probe_examples": "number of examples",
    "probe_batches": "number of batches",
    "probe_nonfinite": "number of non-finite values",
    "probe_fingerprint": "fingerprint of its data",
}
"""Entries of the manifest that the numbers of a run depend on, in words; the most telling first."""


@dataclass(frozen=True)
class Replaying:
    """What is recorded of every saved model.

    Layers with running averages normalise as in training (phase `probe`). `batch_statistics`: also with batch norm by
    the batch (phase `probe-batch`). `running`: also with their running averages (phase `probe-running`). `arguments`,
    as text, are those that the model was made with: they are noted, so that no other model goes on with the run.
    """

    sites: Sites
    samples: int | Literal["all"] = 1024
    batch_statistics: bool = False
    running: bool = False
    arguments: tuple[str, ...] = ()


class CheckpointRun:
    """A run with one window per saved model; all get the same inputs.

    `model` takes the weights of one after the other. Of several processes each records some of the models; where there
    are more processes than models, each records all of them on its share of the data, but for the statistics that batch
    norm uses: those are of all data, in every process. They exchange nothing. Nothing is written before the first model
    is through, so that data which it does not take leave no trace. Raises `ModelError` where there are more processes
    than saved models and than batches.
    """

    def __init__(self, model: nn.Module, snapshots: Sequence[Snapshot], data: Data, how: Replaying) -> None:
        self._model = model
        self._snapshots = snapshots
        self._data = data
        self._how = how
        self._rank, self._ranks = this_process()
        self._shares_inputs = self._ranks > len(snapshots)
        self._own = data.share(self._rank, self._ranks) if self._shares_inputs else data
        if how.running and not averaging(model):
            raise ModelError(f"{type(model).__name__} has no layer with running averages: leave --running out")
        settings = {**_settings(data, how), SHARES_INPUTS: self._shares_inputs}
        self._manifest = beginning(model, {**settings, PROBE_STATISTICS: probe_statistics(model)})
        self._resumes = False
        self._done: frozenset[int] = frozenset()

    @property
    def missing(self) -> list[Snapshot]:
        """The saved models that no process has recorded yet."""
        return [snapshot for index, snapshot in enumerate(self._snapshots, 1) if index not in self._done]

    @property
    def waiting(self) -> list[int]:
        """Numbers, from 1, of the windows that are this process's to record and are not recorded yet."""
        every = range(1, len(self._snapshots) + 1)
        own = every if self._shares_inputs else every[self._rank :: self._ranks]
        return [index for index in own if index not in self._done]

    def resume(self, path: Path) -> None:
        """Go on with the run at `path`, if there is one: windows that it has are not recorded again.

        Raises `RunError` where the run was made of another model, with other inputs or options, or where its windows
        are other saved models; and where `path` is no run.
        """
        # A rank other than the first may have written something before the first made a run of it.
        self._resumes = self._rank > 0 or is_run(path)
        if not self._resumes:
            refuse_occupied(path, force=False, rank=self._rank, ranks=self._ranks)
        if not is_run(path):
            return
        run = StoredRun(path)
        _refuse_other(run, self._manifest, self._ranks)
        for window in run.window_list:
            name = self._snapshots[window.index - 1].name if window.index <= len(self._snapshots) else "none"
            if name != window.name:
                raise RunError(f"{path} has {window.name} as window {window.index}, now {name} comes there: name all")
        self._done = frozenset(window.index for window in run.window_list if window.closed)
        self._manifest |= {key: run.manifest[key] for key in ("created", "sites", "ledger")}
        self._manifest["unmasked"] = run.manifest.get("unmasked", {})

    def record(self, path: Path, after: Callable[[], None], *, force: bool = False) -> None:
        """Replay every model that is waiting, and write a window for each; `after` is called after each.

        Raises `ModelError` where a model does not take the data, `RecordingError` where no site sees anything, and
        `RunError` where the path cannot be written to.
        """
        recording: Recording | None = None
        samples = math.inf if self._how.samples == "all" else self._how.samples
        interrupts.install()
        try:
            parameters, before = Parameters(self._model), 0
            rank = self._rank if self._shares_inputs else 0
            with Replayer(self._model, self._how.sites, samples, rank=rank) as replayer:
                for index in self.waiting:
                    if before != index - 1:  # It was replayed earlier, or by another process.
                        self._snapshots[index - 2].put(self._model)
                        parameters.change()
                    self._replay(replayer, index)
                    change, before = parameters.change(), index
                    window = self._window(index, change if index > 1 else None)
                    seen, state = replayer.taken(), replayer.state()
                    state["unmasked"] = joined([self._manifest.get("unmasked", {}), state["unmasked"]])
                    _refuse_nothing(self._model, seen, state["ledger"])
                    with interrupts.Guard(), _writing(path):
                        recording = recording or self._begun(path, state, force=force)
                        recording.update(state)  # First: what a window holds of sites unknown is not read.
                        recording.write_window(window, seen)
                    after()
            with interrupts.Guard(), _writing(path):
                (recording or self._begun(path, {}, force=force)).finish({})
        finally:
            interrupts.restore()

    def _replay(self, replayer: Replayer, index: int) -> None:
        self._snapshots[index - 1].put(self._model)
        replayer.look(self._data)
        replayer.replay_as_trained(self._own, PROBE, self._data)
        if self._how.batch_statistics:
            replayer.replay(self._own, PROBE_BATCH, "batch")
        if self._how.running:
            replayer.replay(self._own, PROBE_RUNNING)

    def _begun(self, path: Path, state: dict[str, Any], *, force: bool) -> Recording:
        manifest = {**self._manifest, **state}
        if self._resumes:
            return Recording.reopened(path, manifest, rank=self._rank, ranks=self._ranks)
        return Recording(path, manifest, force=force, rank=self._rank, ranks=self._ranks)

    def _window(self, index: int, parameter_change: float | None) -> Window:
        """Returns the window of one saved model; its step is the training's if all know theirs, else counted from 0."""
        snapshot = self._snapshots[index - 1]
        known = all(saved.step is not None for saved in self._snapshots)
        step = snapshot.step if known and snapshot.step is not None else index - 1
        return Window(index, snapshot.name, step, step, True, parameter_change)


def own_device(device: str) -> str:
    """Returns the device of this process: where several share a machine with several GPUs, each has its own."""
    local, gpus = os.environ.get("LOCAL_RANK", ""), torch.cuda.device_count() if device == "cuda" else 0
    return f"cuda:{int(local) % gpus}" if gpus and local.isdigit() else device


def _settings(data: Data, how: Replaying) -> dict[str, Any]:
    return {
        "model_arguments": list(how.arguments),
        "samples": how.samples,
        "window_steps": None,
        "max_units": how.sites.max_units,
        "sites": None if how.sites.select is None else [str(pattern) for pattern in how.sites.select],  # type: ignore[union-attr]
        "phases": [PROBE] + [PROBE_BATCH] * how.batch_statistics + [PROBE_RUNNING] * how.running,
        "device": next((tensor.device.type for tensor in data.tensors()), "cpu"),
        "probe_examples": data.examples,
        "probe_batches": len(data.batches),
        "probe_nonfinite": data.nonfinite,
        "probe_fingerprint": data.fingerprint,
    }


def _refuse_other(run: StoredRun, manifest: dict[str, Any], ranks: int) -> None:
    """Raise `RunError` that names the first entry in which a run differs from what would be recorded now."""
    then, now = ({**entries, **entries["settings"]} for entries in (run.manifest, {**manifest, "ranks": ranks}))
    if now[PROBE_STATISTICS] is not None:
        then.setdefault(PROBE_STATISTICS, RUNNING_AVERAGES)  # What older runs used.
    for name, words in _DECISIVE.items():
        if then.get(name) != now[name]:
            raise RunError(
                f"{run.path} was recorded with another {words}: {_shown(then.get(name))}, now {_shown(now[name])}; "
                "give the same, or record another run"
            )


def _refuse_nothing(model: nn.Module, seen: Sized, ledger: list[dict[str, str]]) -> None:
    """Raise `RecordingError` where no site saw anything, with what became of the modules that were to be watched."""
    if not seen:
        reasons = [f"{entry['module']}: {entry['reason']}" for entry in ledger if entry["state"] != "excluded"]
        raise RecordingError(f"{type(model).__name__} showed nothing to record; {'; '.join(reasons[:3])}")


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value or "")) or "none"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error
