"""What an interruption by our hooks costs a training beside the time that passes within them.

PyTorch calls modules with hooks by a longer way, and what a hook does leaves other data than the training's in the
caches of the processor: on a busy machine the training goes on a third slower. Neither can be seen from within a hook.
So a small training of our own is timed, with and without hooks like theirs: in turn, so that both see the same state
of the machine, and by the time that the processor spends on it, since others that wait for it would be most of the
difference. Of either kind the shortest stretch counts, since others only make stretches longer, each by more than hooks
do: differences of stretches side by side were off by a hundred times on a busy machine. An estimate all the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from icshift.hooks.calls import Call
from icshift.hooks.examples import Examples
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.stopwatch import Stopwatch, apart
from icshift.hooks.watcher import Keeper, Watcher
from icshift.model.sites import Sites
from icshift.model.torch_private import compiled_before, hooks_for_all_modules
from icshift.record.forwards import Forward, Forwards

MEASURING = 0.01
"""The share of a recording's time that may go into measuring it."""

_STEPS = 4
"""Steps of a stretch with hooks, and of one without."""

_FEWEST, _PAIRS = 3, 10
"""Stretches of both kinds that are timed, at least and at most."""

_SAMPLES = 64

_COARSE = 1e-5
"""Seconds of the finest clock that is too coarse to time a hook."""

clock = time.thread_time if time.get_clock_info("thread_time").resolution < _COARSE else time.perf_counter
"""What stretches are timed by."""


@dataclass(frozen=True)
class Costs:
    """Seconds beside those within: of a `block` of ours, and of the `touch` of a hook that does next to nothing."""

    block: float
    touch: float


_costs: Costs | None = None


def note_beside(stopwatch: Stopwatch, seconds: float) -> None:
    """Note in a stopwatch what `beside` returns, which may take so many seconds."""
    costs = beside(seconds)
    stopwatch.beside, stopwatch.touch = (None, 0.0) if costs is None else (costs.block, costs.touch)


def beside(seconds: float) -> Costs | None:
    """Returns the seconds an interruption, which are measured once in a process.

    That takes at most so many seconds, or three stretches of both kinds. None where they cannot be told: where there
    are hooks for all modules, which would see our training, or anything is compiled, whatever else prevents it, and
    where the shortest stretch with hooks was no longer than the shortest without.
    """
    global _costs  # noqa: PLW0603  It is about the process.
    if hooks_for_all_modules() or compiled_before():
        return None
    if _costs is None:
        try:
            with apart(clock), torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
                _costs = _measured(clock() + seconds)
        except Exception:  # noqa: BLE001  Whatever a script has made of PyTorch, it is not to notice.
            return None
    return _costs


def _measured(until: float) -> Costs | None:
    plain: list[float] = []
    hooked: dict[bool, list[float]] = {False: [], True: []}
    with closing(_Training()) as training:
        training.stretch()
        while len(plain) < 2 * _FEWEST or (len(plain) < 2 * _PAIRS and clock() < until):
            for rests, stretches in hooked.items():
                plain.append(training.stretch())
                with training.recorded(rests=rests) as watch:
                    took = training.stretch()
                stretches.append(took - watch.seconds)
                calls = watch.blocks + watch.touches  # As many where hooks rest.
    block, touch = ((min(stretches) - min(plain)) / calls for stretches in hooked.values())
    return Costs(block, touch) if block > 0 and touch > 0 else None


class _Layer(nn.Linear):
    """One that draws no random number."""

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            values = torch.linspace(-0.1, 0.1, parameter.numel(), device="cpu", dtype=torch.float32)
            parameter.detach().copy_(values.reshape(parameter.shape))


class _Training:
    """A sigmoid network of four layers that learns by plain gradient descent."""

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for width in ((784, 100), (100, 100), (100, 100), (100, 10)):
            layers += [_Layer(*width, device="cpu", dtype=torch.float32), nn.Sigmoid()]
        self._model = nn.Sequential(*layers[:-1])
        self._inputs = torch.linspace(0, 1, 60 * 784, device="cpu", dtype=torch.float32).reshape(60, 784)
        self._targets = torch.zeros(60, device="cpu", dtype=torch.int64)
        self._forwards, self._examples = Forwards(self._model), Examples(self._model, SEED)
        self._observer = Observer(Sites(), _SAMPLES, SEED, lambda *_: None)
        self._rests = False
        keeper = Keeper(self._take, lambda _: None, lambda _: None, self._began, lambda _: self._rests)
        self._watcher = Watcher(self._model, Sites(), self._observer, keeper)
        self._steps = 0

    @contextmanager
    def recorded(self, *, rests: bool) -> Iterator[Stopwatch]:
        """A block within which hooks see the steps, timed by the stopwatch, which begins at zero.

        Where it `rests` they do nothing, as in steps that are left out.
        """
        watch = self._watcher.stopwatch
        with self._watcher.listening():
            self._step()
            self._watcher.stop_following()
            watch.seconds, watch.blocks, watch.touches = 0.0, 0, 0
            self._rests = rests
            yield watch
        self._rests = False
        self._observer.new_window()
        self._examples.new_window()

    def close(self) -> None:
        """Give back what the hooks have set of the compiler."""
        self._watcher.close()

    def stretch(self) -> float:
        """Some steps. Returns the seconds that they took."""
        began = clock()
        for _ in range(_STEPS):
            self._step()
        return clock() - began

    def _step(self) -> None:
        # Drawn one by one, as a DataLoader does.
        batch = torch.stack([self._inputs[row] for row in range(len(self._inputs))])
        functional.cross_entropy(self._model(batch), self._targets).backward()
        for parameter in self._model.parameters():
            assert parameter.grad is not None
            parameter.detach().sub_(parameter.grad, alpha=0.01)
            parameter.grad = None
        if self._watcher.attachment.attached:
            with self._watcher.guard, self._watcher.stopwatch:
                self._observer.tick(self._steps, stepping=True)
                self._forwards.next_step()
                self._steps += 1

    def _began(self, call: Call) -> Forward:
        forward = self._forwards.begun(call)
        inputs = None if self._rests else call.inputs
        self._examples.take(forward.phase, call.part, inputs, sure=forward.stepping)
        return forward

    def _take(self, site: str, module: nn.Module, tensor: Tensor, forward: Forward, padding: Any) -> None:
        self._forwards.took(site, forward)
        self._observer.observe(site, module, tensor, forward.phase, stepping=forward.stepping, padding=padding)
