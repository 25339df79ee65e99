"""Steps of optimizers: the clock of a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from weakref import WeakSet

from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from icshift.errors import RecordingError
from icshift.hooks.attachment import Attachment
from icshift.model.torch_private import not_compiled, takes_step_hooks
from icshift.model.unheard import hears


def listen(optimizers: list[Optimizer] | None, attachment: Attachment, act: Callable[[], None]) -> ExitStack:
    """Call `act` after every step of these optimizers, or (None) of any that holds a parameter of the model.

    Closing the stack that is returned ends it. `act` must not raise: it runs within `optimizer.step()`. Steps that a
    measurement of icshift takes do not count.
    """
    stack = ExitStack()
    # A step may be compiled, but nothing called from here. (`torch.compiler.disable` would load the compiler at once.)
    if optimizers is None:
        own = _OwnSteps(attachment, act)
        after = not_compiled(lambda optimizer, *_: own.after(optimizer))
        stack.callback(register_optimizer_step_post_hook(after).remove)
    after = not_compiled(lambda *_: act() if hears(attachment) else None)
    for optimizer in optimizers or []:
        stack.callback(optimizer.register_step_post_hook(after).remove)
    return stack


def as_list(optimizer: Optimizer | Iterable[Optimizer] | None) -> list[Optimizer] | None:
    """Returns a list of one optimizer or several, None for None. Raises `RecordingError` for anything else."""
    if optimizer is None:
        return None
    optimizers = list(optimizer) if isinstance(optimizer, Iterable) else [optimizer]
    for given in optimizers:
        if not isinstance(given, Optimizer):
            raise RecordingError(f"optimizer must be a torch.optim.Optimizer or several, got {type(given).__name__}")
    return [_innermost(given) for given in optimizers]


def _innermost(optimizer: Optimizer) -> Optimizer:
    # Wrappers, as Accelerate's, are optimizers by type but have no hooks of their own.
    while not takes_step_hooks(optimizer) and isinstance(inner := getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = inner
    return optimizer


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
        if optimizer in self._foreign:
            return
        own = self._attachment.parameters
        if any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
            self._act()
        else:
            self._foreign.add(optimizer)
