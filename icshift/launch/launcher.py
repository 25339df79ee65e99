"""Recording a training script that does not import icshift: its models, steps and epochs are found out.

A model is noticed when an optimizer is made for it (or, with `--forwards`, at its first forward in training mode), a
step when that optimizer steps, an epoch when a DataLoader begins anew (`passes`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from icshift.errors import IcshiftError
from icshift.hooks.hook import Hook
from icshift.launch.discovery import holders, name_of, trained_by
from icshift.launch.passes import Passes
from icshift.model.processes import this_process
from icshift.model.unheard import hears
from icshift.notice import notice
from icshift.record.recorder import Recorder

AUTOMATIC_WINDOW = 100
"""Steps a window where no DataLoader tells of epochs."""

_MODELS = 16
"""Models that are recorded at most: a search over many would keep every one of them in memory."""


@dataclass(frozen=True)
class Settings:
    """How every model is recorded, in the words of `Recorder`; `path` is the folder that holds a run for each model.

    With `forwards` each forward in training mode is a step, for trainings without an optimizer of PyTorch.
    """

    path: Path
    sites: tuple[str, ...] | None = None
    window: int | None = None
    samples: int | Literal["all"] = 64
    force: bool = False
    forwards: bool = False


class Launcher:
    """Records each model that is trained by an optimizer made within `recording()`, at `path` and the model's name.

    Nothing that goes wrong here ends the script: `problems` says what is not recorded.

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

    def __init__(self, settings: Settings) -> None:
        self.recorders: dict[str, Recorder] = {}
        self.problems: list[str] = []
        """What is not recorded, and why: one line each."""
        self.steps = 0
        """Optimizer steps seen."""
        self.automatic = False
        """Whether windows have `AUTOMATIC_WINDOW` steps, because no DataLoader told of epochs."""
        self.forwards = settings.forwards
        self._settings = settings
        self._recorded: set[nn.Module] = set()
        self._without: WeakSet[Optimizer] = WeakSet()
        self._hooks = ExitStack()
        self._passes = Passes(
            self._end_windows,
            lambda: self.steps,
            lambda: any(recorder.model.training for recorder in self.recorders.values()),
        )

    @contextmanager
    def recording(self) -> Iterator[None]:
        """A block within which trainings are recorded; at its end every recording is closed, also by an exception."""
        with ExitStack() as listening:
            if self._settings.forwards:
                listening.callback(register_module_forward_pre_hook(self._called).remove)
            else:
                listening.enter_context(_constructions(self._made))
                listening.callback(register_optimizer_step_post_hook(self._stepped).remove)
            if self._settings.window is None:
                listening.enter_context(self._passes.listening())
            listening.callback(self._close)
            yield

    def _made(self, optimizer: Optimizer) -> None:
        models = trained_by(optimizer)
        for model in models:
            self._record(model)
        if not models:
            self._without.add(optimizer)

    def _record(self, model: nn.Module) -> Recorder | None:
        """Begins to record a model; None where it is recorded already, or cannot be."""
        if model in self._recorded:
            return None
        self._recorded.add(model)
        if len(self.recorders) == _MODELS:
            self.problems.append(f"only the first {_MODELS} models are recorded")
            return None
        name = _unused(name_of(model), self.recorders)
        options = self._settings
        try:
            recorder = Recorder(
                model,
                options.path / name,
                # With forwards as steps, no optimizer's.
                optimizer=[] if options.forwards else None,
                sites=options.sites,
                window=options.window,
                samples=options.samples,
                force=options.force,
            )
            recorder.__enter__()
        except IcshiftError as error:
            self.problems.append(f"{name} ({type(model).__name__}) is not recorded: {error}")
            return None
        self.recorders[name] = recorder
        return recorder

    def _stepped(self, optimizer: Optimizer, *_: Any) -> None:
        if not hears(self):
            return
        if optimizer in self._without:
            # Its parameters may have got a home since it was made; this first step is lost.
            self._without.discard(optimizer)
            for model in trained_by(optimizer):
                self._record(model)
        self._count()

    def _count(self) -> None:
        self.steps += 1
        if self._settings.window is None:
            # A window ends with a step: the recorder's own count, which comes after this, must end it.
            for recorder in self.recorders.values():
                recorder.window = None if self._passes.seen else AUTOMATIC_WINDOW
                self.automatic |= not self._passes.seen and recorder.steps >= AUTOMATIC_WINDOW

    def _called(self, module: nn.Module, arguments: Any) -> None:
        if not module.training or module in self._recorded or not hears(self):
            return
        known = {part for model in self._recorded for part in model.modules()}
        if module in known:
            return
        for model in holders({id(parameter) for parameter in module.parameters()}):
            recorder = self._record(model)
            if recorder is None:
                continue
            if model is module:
                # This call's own hooks were collected before these were there.
                for place, hook in list(model._forward_pre_hooks.items()):
                    if isinstance(hook, Hook):
                        # PyTorch tells a hook of all modules no keyword arguments: in this one forward they are missed.
                        hook(model, arguments, *([{}] if place in model._forward_pre_hooks_with_kwargs else []))
            handle = model.register_forward_hook(Hook(model, self._forward_ended(recorder)))
            self._hooks.callback(handle.remove)

    def _forward_ended(self, recorder: Recorder) -> Callable[..., None]:
        def ended(*_: Any) -> None:
            if recorder.model.training and hears(self):
                recorder.step()
                self._count()

        return ended

    def _end_windows(self) -> None:
        for recorder in self.recorders.values():
            recorder.epoch()

    def _close(self) -> None:
        self._hooks.close()
        for name, recorder in list(self.recorders.items()):
            try:
                recorder.__exit__(None, None, None)
            except IcshiftError as reason:
                self.problems.append(str(reason))
                del self.recorders[name]
                if this_process()[1] == 1:
                    shutil.rmtree(recorder.path, ignore_errors=True)
                    with suppress(OSError):
                        recorder.path.parent.rmdir()


@contextmanager
def _constructions(act: Callable[[Optimizer], None]) -> Iterator[None]:
    """A block within which `act` is called with every optimizer that is made."""
    construct = Optimizer.__init__

    @wraps(construct)
    def construct_and_tell(self: Optimizer, *arguments: Any, **options: Any) -> None:
        construct(self, *arguments, **options)
        try:
            act(self)
        except Exception as error:  # noqa: BLE001  The script must not notice.
            notice(f"icshift cannot record what {type(self).__name__} trains: {error}")

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
