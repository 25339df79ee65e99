"""Steps of optimizers: the clock of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from icshift.errors import RecordingError
from icshift.hooks.attachment import Attachment
from icshift.model.torch_private import leave_as_written, not_compiled, takes_step_hooks
from icshift.model.unheard import hears
from icshift.record import keras_steps


def listen(optimizers: list[Any] | None, attachment: Attachment, act: Callable[[], None]) -> ExitStack:
    """Call `act` after every step of these optimizers, or (None) of any that holds a parameter of the model.

    Optimizers are those of PyTorch and of Keras. Closing the stack that is returned ends it. `act` must not raise: it
    runs within `optimizer.step()`. Steps that a measurement of icshift takes do not count.
    """
    stack = ExitStack()
    if optimizers is None:
        own = _OwnSteps(attachment, act)
        stack.callback(register_optimizer_step_post_hook(_uncompiled(own.after)).remove)
        stack.enter_context(keras_steps.heard(keras_steps.Listener(own.after_keras)))
    given = set(map(id, optimizers or []))

    def after(_: object = None) -> None:
        if hears(attachment):
            act()

    for optimizer in optimizers or []:
        if isinstance(optimizer, Optimizer):
            stack.callback(optimizer.register_step_post_hook(_uncompiled(after)).remove)
    if any(not isinstance(optimizer, Optimizer) for optimizer in optimizers or []):
        stack.enter_context(keras_steps.heard(keras_steps.Listener(lambda o, _: after() if id(o) in given else None)))
    return stack


def as_list(optimizer: Any) -> list[Any] | None:
    """Returns a list of one optimizer or several, of PyTorch or Keras, None for None.

    Raises `RecordingError` for anything else.
    """
    if optimizer is None:
        return None
    optimizers = list(optimizer) if isinstance(optimizer, Iterable) else [optimizer]
    for given in optimizers:
        if not isinstance(given, Optimizer) and not keras_steps.is_optimizer(given):
            raise RecordingError(
                f"optimizer must be a torch.optim.Optimizer (or one of Keras) or several, got {type(given).__name__}"
            )
    return [_innermost(given) if isinstance(given, Optimizer) else keras_steps.inner(given) for given in optimizers]


def _innermost(optimizer: Optimizer) -> Optimizer:
    # Wrappers, as Accelerate's, are optimizers by type but have no hooks of their own.
    while not takes_step_hooks(optimizer) and isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


def _uncompiled(act: Callable[[Any], None]) -> Callable[..., None]:
    """Returns a hook that calls this with an optimizer. Its step may be compiled, but nothing called from here.

    Where it is, the hook goes by what the compiler leaves alone, which takes longer: always, ten times what is done.
    """
    left_alone = not_compiled(act)  # (`torch.compiler.disable` would load the compiler at once.)

    def after(optimizer: Any, *_: Any) -> None:
        if torch.compiler.is_compiling():
            left_alone(optimizer)
        else:
            act(optimizer)

    leave_as_written(after.__code__)
    return after


class _OwnSteps:
    """Tells the steps of the optimizers of one model from those of others."""

    def __init__(self, attachment: Attachment, act: Callable[[], None]) -> None:
        self._attachment = attachment
        self._act = act
        self._foreign: WeakSet[Optimizer] = WeakSet()

    def after(self, optimizer: Optimizer) -> None:
        if not hears(self._attachment):
            return
        if self._attachment.refresh():
            self._foreign.clear()
        if self._foreign and optimizer in self._foreign:
            return
        own = self._attachment.parameters
        for group in optimizer.param_groups:
            for parameter in group["params"]:  # Mostly it is the first one.
                if id(parameter) in own:
                    self._act()
                    return
        self._foreign.add(optimizer)

    def after_keras(self, _: Any, changed: list[nn.Parameter]) -> None:
        if hears(self._attachment):
            self._attachment.refresh()
            if any(id(parameter) in self._attachment.parameters for parameter in changed):
                self._act()
