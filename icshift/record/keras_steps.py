"""Steps of the optimizers of Keras, which are none of PyTorch: heard by a change of their class while anybody listens.

Nothing here imports Keras, and only what runs on PyTorch is heard.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeAlias

from torch import nn

from icshift.model.torch_private import not_compiled

MODULE = "keras.src.optimizers.optimizer"
"""Where the class of all optimizers of Keras is."""

Told: TypeAlias = Callable[[Any, list[nn.Parameter]], None]
"""Gets an optimizer and the parameters that it changes. It must not raise."""


@dataclass(frozen=True, eq=False)
class Listener:
    """What is called after an optimizer is `made`, after it is `built` for parameters, before and after its steps.

    One is made before it knows any parameters: it is built by `fit`, or by its first step.
    """

    after: Told
    before: Told = lambda *_: None
    built: Told = lambda *_: None
    made: Callable[[Any], None] = lambda _: None


_listeners: dict[Listener, None] = {}
_hearing = ExitStack()


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """A block within which a listener hears the optimizers of Keras; one that is imported later is heard by `hear`."""
    _listeners[listener] = None
    try:
        hear()
        yield
    finally:
        del _listeners[listener]
        if not _listeners:
            _hearing.close()
            _heard.clear()


_heard: list[type[Any]] = []


def hear() -> None:
    """Hear the optimizers of Keras, if it is imported and anybody listens."""
    optimizer = optimizers()
    if optimizer is None or not _listeners or _heard:
        return
    _heard.append(optimizer)
    for name, telling in (("__init__", _telling_made), ("build", _telling_built), ("apply", _telling_steps)):
        # Those of every optimizer call the one of their base.
        owner = next(kind for kind in optimizer.__mro__ if name in vars(kind))
        plain = vars(owner)[name]
        setattr(owner, name, telling(plain))
        _hearing.callback(setattr, owner, name, plain)


def optimizers() -> type[Any] | None:
    """The class of all optimizers of Keras; None where it is not imported."""
    return getattr(sys.modules.get(MODULE), "Optimizer", None)


def backend() -> str:
    """What Keras computes with: "torch", or another."""
    return str(sys.modules["keras.src.backend.config"].backend())


def is_optimizer(given: object) -> bool:
    """Whether something is an optimizer of Keras."""
    kind = optimizers()
    return kind is not None and issubclass(type(given), kind)


def inner(optimizer: Any) -> Any:
    """The optimizer that steps where one is around it that scales the loss; else the same."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _telling_made(make: Callable[..., None]) -> Callable[..., None]:
    tell = not_compiled(lambda optimizer: _tell("made", optimizer))

    @wraps(make)
    def make_and_tell(self: Any, *arguments: Any, **options: Any) -> None:
        make(self, *arguments, **options)
        tell(self)

    return make_and_tell


def _telling_built(build: Callable[..., None]) -> Callable[..., None]:
    tell = not_compiled(lambda optimizer, given: _tell("built", optimizer, _parameters(given)))

    @wraps(build)
    def build_and_tell(self: Any, variables: Any) -> None:
        build(self, variables)
        tell(self, variables)

    return build_and_tell


def _telling_steps(apply: Callable[..., Any]) -> Callable[..., Any]:
    before, after = not_compiled(_before_step), not_compiled(_after_step)

    @wraps(apply)
    def apply_and_tell(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        counted: list[int] = []
        before(self, trainable_variables, counted)
        result = apply(self, grads, trainable_variables)
        after(self, trainable_variables, counted)
        return result

    return apply_and_tell


def _before_step(optimizer: Any, given: Any, counted: list[int]) -> None:
    counted += _updates(optimizer)
    _tell("before", optimizer, _changed_by(optimizer, given))


def _after_step(optimizer: Any, given: Any, counted: list[int]) -> None:
    # Where gradients are added up over several batches, Keras itself asks for this number: it costs nothing more.
    if not counted or _updates(optimizer) != counted:
        _tell("after", optimizer, _changed_by(optimizer, given))


def _updates(optimizer: Any) -> list[int]:
    return [int(optimizer.iterations)] if getattr(optimizer, "gradient_accumulation_steps", None) else []


def _changed_by(optimizer: Any, given: Any) -> list[nn.Parameter]:
    return _parameters(vars(optimizer).get("_trainable_variables") if given is None else given)


def _parameters(variables: Any) -> list[nn.Parameter]:
    # What can be gone through only once is the optimizer's.
    listed = variables if isinstance(variables, (list, tuple)) else ()
    values = (vars(variable).get("_value") for variable in listed if hasattr(variable, "__dict__"))
    return [value for value in values if isinstance(value, nn.Parameter)]


def _tell(event: str, *seen: Any) -> None:
    for listener in list(_listeners):
        getattr(listener, event)(*seen)
