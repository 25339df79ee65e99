"""Recording what the processes train that a script starts: they learn of it through the environment, as they start.

Children that run the same Python import `startup/sitecustomize.py`, for it is in front on their PYTHONPATH, and
record from their first optimizer on. Nothing is imported before that, and nothing at all without torch: most children
load data. This file is free of torch too. Forks need none of it: they have the launcher of their parent (`place.py`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from icshift.launch.script import uncaught, when_imported

VARIABLE = "ICSHIFT_RUN"
"""Holds the parent's Python and what a child is to do: two lines to know the Python by, and the settings as JSON."""

_STARTUP = Path(__file__).with_name("startup")

_disarmed = False


@contextmanager
def followed(settings: dict[str, Any]) -> Iterator[None]:
    """A block within which the Pythons that this process starts record, with these settings, what they train."""
    before = {name: os.environ.get(name) for name in (VARIABLE, "PYTHONPATH")}
    os.environ[VARIABLE] = "\n".join((sys.prefix, sys.version.replace("\n", " "), json.dumps(settings)))
    # An empty entry would be the folder that they start in.
    os.environ["PYTHONPATH"] = os.pathsep.join((str(_STARTUP), *filter(None, [before["PYTHONPATH"]])))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def follow(settings: str) -> None:
    """In a child: record what an optimizer trains that is made from now on."""
    when_imported("torch", lambda: None if _disarmed else _await_optimizer(settings))


def disarm() -> None:
    """Leave this child to an `icshift run` of its own."""
    global _disarmed  # noqa: PLW0603  It is about the process.
    _disarmed = True


def _await_optimizer(settings: str) -> None:
    told = json.loads(settings)
    if told["forwards"]:
        _record(told)
        return
    waiting: list[Callable[[], None]] = []

    def record() -> None:
        while waiting:
            waiting.pop()()
        _record(told)

    waiting.append(_before_first(sys.modules["torch"].optim.Optimizer, record))
    # The module of Keras that has the class of all of its optimizers.
    module = "keras.src.optimizers.optimizer"
    end = when_imported(module, lambda: waiting.append(_before_first(sys.modules[module].Optimizer, record)))
    waiting.append(end)


def _before_first(optimizer: Any, act: Callable[[], None]) -> Callable[[], None]:
    """Have a function called before the first optimizer is made; returns what waits for none any more."""
    owner = next(kind for kind in optimizer.__mro__ if "__init__" in vars(kind))
    construct = owner.__init__

    @wraps(construct)
    def act_and_construct(self: Any, *arguments: Any, **options: Any) -> None:
        if owner.__init__ is act_and_construct:
            act()
        owner.__init__(self, *arguments, **options)

    def end() -> None:
        if owner.__init__ is act_and_construct:
            owner.__init__ = construct

    owner.__init__ = act_and_construct
    return end


def _record(told: dict[str, Any]) -> None:
    """Begin to record, until the process ends; whatever is wrong with that, the process goes on."""
    try:
        from icshift.launch.launcher import Launcher, settings
        from icshift.launch.place import at_end

        launcher, recording = Launcher(settings(told, child=True), uncaught), ExitStack()
        recording.enter_context(launcher.recording())
        at_end(recording.close)
    except Exception as error:  # noqa: BLE001
        print(f"icshift: process {os.getpid()} is not recorded: {error}", file=sys.stderr)
