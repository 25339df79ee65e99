"""Recording a training script that does not import icshift: its models, steps and epochs are found out.

A model is noticed when an optimizer is made for it (or, with `--forwards`, at its first forward in training mode), a
step when that optimizer steps, an epoch when the training goes on after a DataLoader began anew (`passes`).
"""

from __future__ import annotations

import os
import shutil
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from icshift.errors import IcshiftError, RecordingError
from icshift.hooks.hook import Hook
from icshift.launch.copies import Copies
from icshift.launch.costs import Costs
from icshift.launch.discovery import Models, parameters_of
from icshift.launch.evaluations import Evaluations
from icshift.launch.keras_fit import KerasFits
from icshift.launch.naming import name_of
from icshift.launch.passes import Passes
from icshift.launch.place import Place
from icshift.launch.room import room
from icshift.launch.twins import called_through_another
from icshift.launch.waiting import Waiting, tell_of_call
from icshift.model.keras_layers import is_layer, sends_shapes
from icshift.model.names import parameters
from icshift.model.processes import this_process
from icshift.model.unheard import hears
from icshift.record import keras_steps
from icshift.record.recorder import Recorder
from icshift.record.windows import AUTO

_MODELS = 16
"""Models that are recorded at most: a search over many would keep every one of them in memory."""


@dataclass(frozen=True)
class Settings:
    """How every model is recorded, in the words of `Recorder`; `path` is the folder that holds a run for each model.

    With `forwards` each forward in training mode is a step, for trainings without an optimizer of PyTorch. `child` says
    that this is a process which one that records has started (see `Place`), `quiet` that nothing is told beforehand,
    `resume` that runs that are there go on.
    """

    path: Path
    sites: tuple[str, ...] | None = None
    window: int | None = None
    samples: int | Literal["all"] = 64
    force: bool = False
    forwards: bool = False
    overhead: float | None = None
    child: bool = False
    quiet: bool = False
    resume: bool = False


def settings(told: dict[str, Any], *, child: bool = False) -> Settings:
    """Returns the settings that `icshift run` tells itself and its children in plain types."""
    sites = told["sites"]
    return Settings(**{**told, "path": Path(told["path"]), "sites": tuple(sites) if sites else None, "child": child})


class Launcher:
    """Records each model that is trained by an optimizer made within `recording()`, at `path` and the model's name.

    Nothing that goes wrong here ends the script: `problems` says what is not recorded. A child that is forked within
    records for itself what it trains (see `Place`).

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     launcher = Launcher(Settings(Path(folder)))
    ...     with launcher.recording():
    ...         network = nn.Linear(2, 1)
    ...         optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    ...         network(torch.ones(4, 2)).sum().backward()
    ...         optimizer.step()
    >>> len(launcher.recorders), launcher.steps, launcher.problems
    (1, 1, [])
    """

    def __init__(self, settings: Settings, uncaught: Callable[[], BaseException | None] = lambda: None) -> None:
        """`uncaught` returns, at the end, the exception that ended the training."""
        self._uncaught = uncaught
        self.forwards = settings.forwards
        self.models = Models()
        self.costs = Costs()
        self._settings = settings
        self._begin(Place(settings.path, child=settings.child))
        self._hooks = ExitStack()
        self._unbuilt = Waiting(self._called_before_built)
        self._unloaded = Waiting(self._called_after_loading)
        self._fits = KerasFits(self._epoch_begins)
        self._passes = Passes(
            lambda: None if self._fits.fitting else self._epoch_begins(),
            lambda: None if self._fits.fitting else self._epoch_goes_on(),
            steps=lambda: self.steps,
            training=lambda: any(recorder.model.training for recorder in self.recorders.values()),
            stand_in=self._fits.stand_in,
            watch=self.costs.steps,
        )

    def _begin(self, place: Place) -> None:
        """Begin with nothing recorded: in a process of its own."""
        self.recorders: dict[str, Recorder] = {}
        self.problems: list[str] = []
        """What is not recorded, and why: one line each."""
        self.steps = 0
        """Optimizer steps seen."""
        self._place = place
        self._recorded: set[nn.Module] = set()
        self._shared: set[str] = set()
        """Names of the runs to which other processes of a distributed training write too."""
        self._early: set[str] = set()
        """Names of runs of models that were called before any optimizer was known to train them."""
        self._rank = 0
        self._settled: dict[int, weakref.ref[nn.Module]] = {}
        self._looked: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """How many groups of parameters an optimizer had when the models that it trains were looked for."""
        self.copies = Copies(self.models)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A block within which trainings are recorded; at its end every recording is closed, also by an exception."""
        with ExitStack() as listening:
            # At the very end, when nothing else of ours is on PyTorch that would slow what is timed then.
            listening.callback(self.close)
            listening.enter_context(self.models.listening())
            if self._settings.forwards:
                listening.callback(register_module_forward_pre_hook(self._called).remove)
            else:
                listening.enter_context(_constructions(self._made))
                listening.callback(register_optimizer_step_pre_hook(self._steps).remove)
                listening.callback(register_optimizer_step_post_hook(self._stepped).remove)
                listening.enter_context(keras_steps.heard(self._of_keras()))
            listening.enter_context(self._passes.listening())
            listening.enter_context(self._fits.listening())
            yield

    def _of_keras(self) -> keras_steps.Listener:
        return keras_steps.Listener(
            after=lambda *_: self._stepped(),
            before=lambda optimizer, changed: self._before_step(optimizer, changed, 1),
            built=self._built_of_keras,
            made=self._made_of_keras,
        )

    def _built_of_keras(self, optimizer: Any, trained: list[Any]) -> None:
        self._look_safely(optimizer, trained, 1)
        self._unbuilt.ready(optimizer)

    def _made_of_keras(self, optimizer: Any) -> None:
        if (backend := keras_steps.backend()) == "torch":
            self._unbuilt.add(optimizer)
        else:
            problem = f"Keras runs on {backend}, and icshift records PyTorch: start with KERAS_BACKEND=torch"
            if problem not in self.problems:
                print(f"icshift: {problem}", file=sys.stderr)
            self._problem(problem)

    def _made(self, optimizer: Optimizer) -> None:
        if self._settings.resume:
            self._unloaded.add(optimizer)
            return
        self._look_safely(optimizer, parameters_of(optimizer), len(optimizer.param_groups))

    def _look_safely(self, optimizer: Any, trained: list[Any], groups: int) -> None:
        with self._working(f"what {type(optimizer).__name__} trains"):
            self._look(optimizer, trained, groups)

    @contextmanager
    def _working(self, what: str) -> Iterator[None]:
        """A block of work, which is timed; an error in it is a problem, of which the script does not notice."""
        try:
            with self.costs.once:
                if not self._place.is_here:
                    self._begin(self._place.in_fork(self.close))
                yield
        except Exception as error:  # noqa: BLE001
            self._problem(f"{what} is not recorded: {type(error).__name__}: {error}")

    def _problem(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def _look(self, optimizer: Any, trained: list[Any], groups: int) -> None:
        """Record the models that an optimizer trains, which has these parameters in so many groups."""
        models = self.models.holding(trained)
        for model in models:
            self._record(model)
        if models or optimizer in self._looked:
            self._looked[optimizer] = groups
        else:
            # Its parameters may have got a home by its first step; that step's forward is lost.
            self._looked[optimizer] = 0

    def _record(self, model: nn.Module) -> Recorder | None:
        """Begins to record a model; None where it is recorded already, or cannot be."""
        if model in self._recorded:
            return None
        self._recorded.add(model)
        if (name := self.copies.follow(model, self.recorders)) is not None:
            # Those before are let go of.
            self._recorded = {recorder.model for recorder in self.recorders.values()}
            return self.recorders[name]
        if len(self.recorders) == _MODELS:
            self._problem(f"only the first {_MODELS} models are recorded")
            return None
        name = _unused(name_of(model), self.recorders)
        options = self._settings
        try:
            recorder = Recorder(
                model,
                self._place.folder() / name,
                # With forwards as steps, no optimizer's.
                optimizer=[] if options.forwards else None,
                sites=options.sites,
                window=options.window or AUTO,
                samples=options.samples,
                overhead=options.overhead,
                # What was there is gone already: a child must not take away what others record.
                force=options.force and not self._place.child,
                strict=True,
                resume=options.resume,
            )
            recorder.start()
            self.copies.begin(name, model)
        except IcshiftError as error:
            self._problem(f"{name} ({type(model).__name__}) is not recorded: {error}")
            return None
        recorder.forwards.evaluation = Evaluations(self._passes.evaluated_source, self._passes.trains_on).phase
        self.recorders[name] = recorder
        self.costs.recorders.append(recorder.stopwatch)
        self._rank, ranks = this_process()
        if ranks > 1:
            self._shared.add(name)
        return recorder

    def _steps(self, optimizer: Optimizer, *_: Any) -> None:
        """Before a step: afterwards a recorder could not listen, for the hooks that it adds to are being called."""
        self._before_step(optimizer, None, len(optimizer.param_groups))

    def _before_step(self, optimizer: Any, trained: list[Any] | None, groups: int) -> None:
        # A fork that goes on with its parent's optimizer is no training of its own.
        with self.costs.steps:
            new = self._place.is_here and self._looked.get(optimizer) != groups
        if new and hears(self):
            self._look_safely(optimizer, parameters_of(optimizer) if trained is None else trained, groups)
            self._unloaded.ready(optimizer)

    def _stepped(self, *_: Any) -> None:
        with self.costs.steps:
            if hears(self) and self._place.is_here:
                self._count()

    def _count(self) -> None:
        self.steps += 1
        if self.steps == 1 and not (self._settings.quiet or self._settings.child or self._rank):
            with self._working("room on disk"):
                if line := room(self.recorders, self._settings.path):
                    print(f"icshift: {line}", file=sys.stderr)

    def _called_before_built(self, module: nn.Module, arguments: Any) -> None:
        if is_layer(module) and torch.is_grad_enabled():
            self._record_called(module, arguments, self._begin_early)

    def _called_after_loading(self, module: nn.Module, arguments: Any) -> None:
        if module.training and torch.is_grad_enabled():
            self._record_called(module, arguments, lambda *_: None)

    def _called(self, module: nn.Module, arguments: Any) -> None:
        if module.training:
            self._record_called(module, arguments, self._follow_forwards)

    def _record_called(self, module: nn.Module, arguments: Any, begin: Callable[..., None]) -> None:
        """Record the models that a module which is called belongs to."""
        with self.costs.steps:
            settled = self._settled.get(id(module))
            known = settled is not None and settled() is module and self._place.is_here
        if known or not hears(self) or sends_shapes(module, arguments):
            return
        # Losses and activation functions come and go.
        if next(parameters(module), None) is not None:
            with self._working(type(module).__name__):
                self._settled[id(module)] = weakref.ref(module)
                for model in self.models.holding(parameters(module)):
                    if (recorder := self._record(model)) is not None:
                        if model is module:
                            tell_of_call(model, arguments)
                        begin(recorder, model)

    def _begin_early(self, recorder: Recorder, _: nn.Module) -> None:
        self._early |= {name for name, own in self.recorders.items() if own is recorder}

    def _follow_forwards(self, recorder: Recorder, model: nn.Module) -> None:
        """End a step with each forward of a model."""
        handle = model.register_forward_hook(Hook(model, self._forward_ended(recorder)))
        self._hooks.callback(handle.remove)

    def _forward_ended(self, recorder: Recorder) -> Callable[..., None]:
        def ended(*_: Any) -> None:
            if recorder.model.training and hears(self):
                recorder.step()
                self._count()

        return ended

    def _epoch_begins(self) -> None:
        if self._settings.window is None:
            for recorder in self.recorders.values():
                recorder.epoch_begins()

    def _epoch_goes_on(self) -> None:
        if self._settings.window is None:
            for recorder in self.recorders.values():
                recorder.epoch_goes_on()

    def close(self) -> None:
        """End every recording of this process; a run without anything is deleted, and a problem."""
        if not self._place.is_here or self._place.left:
            return  # Nothing was recorded in this fork, or all is closed.
        self.costs.training_ends()
        with self.costs.once:
            self._hooks.close()
            self._unbuilt.close()
            self._unloaded.close()
            twins = called_through_another(self.recorders)
            untrained = {name for name in self._early if name in self.recorders and not self.recorders[name].steps}
            for name, recorder in list(self.recorders.items()):
                try:
                    recorder.close(self._uncaught())
                    if not recorder.sites:
                        raise RecordingError(f"{name} was not called before the training was ended")
                    if name in twins:
                        raise RecordingError(f"{name} has the layers of {twins[name]}, which alone was called")
                    if name in untrained:
                        raise RecordingError(f"{name} was called, and no optimizer trained it")
                except IcshiftError as reason:
                    if name not in untrained:
                        self._problem(str(reason))
                    del self.recorders[name]
                    if name not in self._shared and not self._settings.resume:
                        shutil.rmtree(recorder.path, ignore_errors=True)
            self._place.leave()
        if self._place.child and not self._rank:
            # Whoever started this process reports what is there, and does not know what is not.
            for problem in self.missing():
                print(f"icshift: process {os.getpid()}: {problem}", file=sys.stderr)

    def missing(self) -> list[str]:
        """One line for each reason why less was recorded than there was to record; empty where all was."""
        if self.steps and not self.recorders and not self.problems:
            return [
                f"{self.steps:,} optimizer steps were seen, but no module holds the parameters that they changed: "
                "nothing was recorded; hold them in an nn.Module as its parameters"
            ]
        return self.problems


@contextmanager
def _constructions(act: Callable[[Optimizer], None]) -> Iterator[None]:
    """A block within which `act` is called with every optimizer that is made."""
    construct = Optimizer.__init__

    @wraps(construct)
    def construct_and_tell(self: Optimizer, *arguments: Any, **options: Any) -> None:
        construct(self, *arguments, **options)
        act(self)

    Optimizer.__init__ = construct_and_tell  # type: ignore[method-assign]
    try:
        yield
    finally:
        Optimizer.__init__ = construct  # type: ignore[method-assign]


def _unused(name: str, taken: Any) -> str:
    number = 1
    while (numbered := name if number == 1 else f"{name}-{number}") in taken:
        number += 1
    return numbered
