"""The recorder: forward hooks on a model, from the first step to a run on disk."""

from __future__ import annotations

import math
import platform
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from icshift._version import __version__
from icshift.capture.hook import Hook
from icshift.capture.ledger import ledger
from icshift.capture.links import Links
from icshift.capture.observer import PROBE, PROBE_TRAIN, Observer
from icshift.capture.probe import Probe, replay, undisturbed
from icshift.capture.sites import Selector, Sites, choose
from icshift.errors import RecordingError
from icshift.recording import Recording, StepRows, refuse_existing
from icshift.run import Site, Window

FLUSH_SECONDS = 10.0
"""Step rows are written at least so often while recording."""

_SNAPSHOT_SHARE = 0.02
"""The open window is written with them, unless that takes more than this share of the time since the last time."""

_SEED = 20150211


class Recorder:
    """Records the activation distribution of every unit of a model, at every step, while it trains.

    ::

        with icshift.Recorder(model, "runs/a", optimizer=optimizer) as recorder:
            for epoch in range(epochs):
                train(...)
                recorder.epoch()

    A *step* ends with an optimiser's step that follows at least one forward, or with `step()`. `optimizer` names the
    optimisers (one or several) to listen to; without it, any that holds a parameter of the model. A *window* ends
    with `epoch()`, and after `window` steps if that is given. Forwards are recorded under the phase `train` or
    `eval`, after the mode the model is in. `sites` chooses the modules (see `Sites`), `samples` bounds the values a
    unit and step that quantiles are made from ("all": no bound; moments always read every activation). `probe` is a
    fixed set of inputs (see `Probe`) replayed at the end of every window.

    Training with a recorder is bit-identical to training without. Raises `RunError` if the path exists (unless
    `force`), `RecordingError` if no module matches or the probe does not pass through the model.
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | Path,
        *,
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
        sites: Selector | Iterable[Selector] | Sites | None = None,
        window: int | None = None,
        probe: Probe | Tensor | tuple[Any, ...] | Mapping[str, Any] | None = None,
        samples: int | Literal["all"] = 64,
        force: bool = False,
    ) -> None:
        if samples != "all" and (not isinstance(samples, int) or samples < 2):
            raise RecordingError(f'samples must be "all" or at least 2 values a unit and step, got {samples!r}')
        if window is not None and window < 1:
            raise RecordingError(f"window must be at least 1 step, got {window}")
        self.model = model
        self.path = Path(path)
        refuse_existing(self.path, force=force)
        self._force = force
        self._optimizers = None if optimizer is None else _as_list(optimizer)
        self._sites = sites if isinstance(sites, Sites) else Sites(_selectors(sites))
        self._modules = choose(model, self._sites)
        self._window_steps = window
        self._probe = probe if probe is None or isinstance(probe, Probe) else Probe(probe)
        if self._probe is not None:
            self._probe.size  # noqa: B018  (raises early, before the training starts)
        self._samples = samples
        self._observer = Observer(self._sites, math.inf if samples == "all" else samples, _SEED, self._keep_steps)
        self._label: str | None = None
        self._inside = False
        self._calls: dict[str, int] = {}
        self._step = 0
        self._window = Window(index=1, name="1", first_step=0, last_step=0, closed=False)
        self._resources: ExitStack | None = None
        self._spent = 0.0

    def __enter__(self) -> Self:
        if self._resources is not None:
            raise RecordingError("this recorder is recording already, or has been: make a new one")
        if self._probe is not None:
            self._rehearse(self._probe)
        self._recording = Recording(self.path, self._manifest(), force=self._force)
        self._started = self._flushed = self._snapshot = time.perf_counter()
        self._snapshot_cost = 0.0
        with ExitStack() as stack:
            self._attach(stack)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._resources is not None
        with self._resources, self._timed():
            self._tick()
            self._close_window(name=None, replay_probe=kind is None)
            self._recording.finish(self._state())
        if kind is None and not self._observer.sites:
            reasons = "; ".join(dict.fromkeys(entry["reason"] for entry in self._ledger()))
            raise RecordingError(f"nothing was recorded in {self.path}: {reasons}")

    def step(self) -> None:
        """End a step, where no optimiser of PyTorch does it."""
        with self._timed():
            self._tick()

    def epoch(self, name: str | None = None) -> None:
        """End a window, by default named after its number, and replay the probe."""
        with self._timed():
            self._tick()
            self._close_window(name, replay_probe=True)

    @contextmanager
    def phase(self, label: str) -> Iterator[None]:
        """Record the forwards within under a phase of this name (as `fake` for a discriminator's second batch)."""
        if label.startswith(PROBE):
            raise RecordingError(
                f"the phase {label!r} is the recorder's own: choose a name that does not begin with {PROBE!r}"
            )
        before, self._label = self._label, label
        try:
            yield
        finally:
            self._label = before

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing within: the hooks are off and forwards cost what they cost without a recorder."""
        if self._resources is None or not self._attached:
            yield
            return
        self._resources.close()
        try:
            yield
        finally:
            with ExitStack() as stack:
                self._attach(stack)
                self._resources = stack.pop_all()

    def _attach(self, stack: ExitStack) -> None:
        self._attached = True
        stack.callback(setattr, self, "_attached", False)
        if not self._observer.sites:
            self._links = Links(self.model)
            self._observer.follow = self._links.gave
        self._watching = stack.enter_context(ExitStack())
        self._watching.callback(self._links.close)
        for name, module in self._modules.items():
            act = self._seer(name)
            self._watching.callback(module.register_forward_hook(Hook(module, act)).remove)
        # Prepended before every other hook of the model, and called even if the forward raises.
        enter = self.model.register_forward_pre_hook(Hook(self.model, self._enter_model), prepend=True)
        leave = self.model.register_forward_hook(Hook(self.model, self._leave_model), always_call=True)
        self._watching.callback(enter.remove)
        self._watching.callback(leave.remove)
        if self._optimizers is None:
            own = {id(parameter) for parameter in self.model.parameters()}

            def after_any(optimizer: Optimizer, *_: Any) -> None:
                if any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
                    self.step()

            stack.callback(register_optimizer_step_post_hook(after_any).remove)
        for optimizer in self._optimizers or []:
            stack.callback(optimizer.register_step_post_hook(lambda *_: self.step()).remove)

    def _seer(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def saw(module: nn.Module, _: Any, output: Any) -> None:
            if torch._C._current_graph_task_id() != -1:
                return  # A checkpointed part is computed again within the backward pass: it was seen already.
            started = time.perf_counter()
            self._observe(name, module, output)
            self._spent += time.perf_counter() - started

        return saw

    def _observe(self, name: str, module: nn.Module, output: Any) -> None:
        if self._inside:
            call = self._calls[name] = self._calls.get(name, 0) + 1
            if call > 1:
                name = f"{name}#{call}"
        training, stepping = self.model.training, self._stepping
        phase = self._label or ("train" if training else "eval")
        try:
            self._observer.observe(name, module, output, phase, stepping=stepping)
        except Exception as error:  # noqa: BLE001  An error in here must never reach the training.
            self._observer.fail(name, error)
        if not stepping and not self._inside:
            self._observer.tick(self._step, stepping=False)

    def _enter_model(self, *_: Any) -> None:
        self._inside = True
        self._calls.clear()

    def _leave_model(self, *_: Any) -> None:
        self._inside = False
        self._stop_following()
        if not self._stepping:
            with self._timed():
                self._observer.tick(self._step, stepping=False)

    def _stop_following(self) -> None:
        if self._observer.follow is not None:
            self._observer.follow = None
            self._links.close()

    @property
    def _stepping(self) -> bool:
        """Whether forwards belong to a step; in eval mode and in a probe each stands for itself."""
        return self.model.training and (self._label is None or not self._label.startswith(PROBE))

    def _tick(self) -> None:
        if not self._observer.waiting:
            return
        self._observer.tick(self._step, stepping=True)
        self._step += 1
        if self._window_steps and self._step - self._window.first_step >= self._window_steps:
            self._close_window(name=None, replay_probe=True)
        elif time.perf_counter() - self._flushed >= FLUSH_SECONDS:
            self._flush()

    def _close_window(self, name: str | None, *, replay_probe: bool) -> None:
        if not self._observer.holding:
            return
        if replay_probe and self._probe is not None:
            self._replay(self._probe)
        distributions = self._observer.distributions()
        closed = replace(self._window, name=name or str(self._window.index), last_step=self._last_step, closed=True)
        self._recording.write_window(closed, distributions)
        self._observer.new_window()
        following = self._window.index + 1
        self._window = Window(following, str(following), self._step, self._step, closed=False)
        self._snapshot = time.perf_counter()
        self._flush_steps()
        self._stop_following()

    @property
    def _last_step(self) -> int:
        return max(self._step - 1, self._window.first_step)

    def _flush(self) -> None:
        now = time.perf_counter()
        if self._snapshot_cost <= _SNAPSHOT_SHARE * (now - self._snapshot):
            unfinished = replace(self._window, last_step=self._last_step)
            self._recording.write_window(unfinished, self._observer.distributions())
            self._snapshot = time.perf_counter()
            self._snapshot_cost = self._snapshot - now
        self._flush_steps()

    def _flush_steps(self) -> None:
        self._recording.flush()
        self._recording.update(self._state())
        self._flushed = time.perf_counter()

    def _rehearse(self, probe: Probe) -> None:
        """Fail before the training starts, not at the end of its first window."""
        if any(nn.parameter.is_lazy(parameter) for parameter in self.model.parameters()):
            return
        try:
            with undisturbed(self.model):
                replay(self.model, probe, training=False)
        except Exception as error:
            raise RecordingError(f"the probe does not pass through {type(self.model).__name__}: {error}") from error

    def _replay(self, probe: Probe) -> None:
        self._observer.restart_probe()
        before = self._label
        try:
            with undisturbed(self.model):
                self._label = PROBE
                replay(self.model, probe, training=False)
                if probe.train_mode:
                    self._label = PROBE_TRAIN
                    replay(self.model, probe, training=True)
        except Exception as error:  # noqa: BLE001  As in `_observe`: the training goes on, without the probe.
            self._probe = None
            warnings.warn(f"icshift stopped replaying the probe: {error}", RuntimeWarning, stacklevel=2)
        finally:
            self._label = before

    def _keep_steps(self, phase: str, site: Site, rows: StepRows) -> None:
        self._recording.append_steps(phase, site, rows)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Adds to the overhead, and ends the recording where it fails: a full disk must not end the training."""
        # Hooks that run within, as in a probe, add their time too: it must not count twice.
        started, before = time.perf_counter(), self._spent
        try:
            yield
        except Exception as error:  # noqa: BLE001
            self._give_up(error)
        finally:
            self._spent = before + time.perf_counter() - started

    def _give_up(self, error: Exception) -> None:
        # The optimiser's hooks stay: this may run in one of them, and none can go while they are being called.
        self._watching.close()
        self._observer.new_window()
        warnings.warn(f"icshift stopped recording to {self.path}: {error}", RuntimeWarning, stacklevel=4)

    def _manifest(self) -> dict[str, Any]:
        return {
            "icshift": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "model": type(self.model).__name__,
            "parameters": sum(p.numel() for p in self.model.parameters() if not nn.parameter.is_lazy(p)),
            "settings": {
                "samples": self._samples,
                "window_steps": self._window_steps,
                "max_units": self._sites.max_units,
                "probe_examples": 0 if self._probe is None else self._probe.size,
                "seed": _SEED,
            },
            "sites": [],
            "ledger": [],
            "steps": 0,
        }

    def _state(self) -> dict[str, Any]:
        followed = {id(module): site for module, site in self._links.followed.items()}
        modules = {name: id(module) for name, module in self._modules.items()}
        sites = [
            replace(
                site,
                feeds=tuple(self._links.feeds.get(name, ())),
                follows=followed.get(modules.get(name.split("#")[0], -1)),
            )
            for name, site in self._observer.sites.items()
        ]
        return {
            "sites": [asdict(site) for site in sites],
            "ledger": self._ledger(),
            "steps": self._step,
            "overhead": {
                "recording_seconds": round(self._spent, 6),
                "wall_seconds": round(time.perf_counter() - self._started, 6),
            },
        }

    def _ledger(self) -> list[dict[str, str]]:
        return ledger(self.model, self._modules, self._observer.sites, self._observer.failed)


def _selectors(sites: Any) -> Any:
    return tuple(sites) if isinstance(sites, Iterable) and not isinstance(sites, (str, type)) else sites


def _as_list(optimizer: Optimizer | Iterable[Optimizer]) -> list[Optimizer]:
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer)
    for one in optimizers:
        if not isinstance(one, Optimizer):
            raise RecordingError(f"optimizer must be a torch.optim.Optimizer or several, got {type(one).__name__}")
    return optimizers
