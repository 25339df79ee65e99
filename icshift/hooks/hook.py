"""Hooks that leave no trace: they return nothing, and copies of the model carry none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from icshift.model.keras_layers import sends_shapes
from icshift.model.torch_private import is_exported, is_replica, is_written_down, leave_as_written
from icshift.notice import notice

_UNTIMED: AbstractContextManager[None] = nullcontext()


class Rest(threading.local):
    """What hooks look at first: while it is `on`, which it is in one thread, they do nothing."""

    on = False
    passed_by = 0
    """How many hooks did nothing since it went on: calling them took time all the same."""


_NEVER = Rest()


class Hook:
    """A hook for one module: calls `act` with what PyTorch passes to it, and does nothing for any other module.

    `again` gets the same first but for the module, and returns whether it has done already what is to be done.

    What `act` does is within a block of `watch`, and not done during a `rest`. What it raises never reaches the
    training: it is said once, and `act` is not called again.

    While `torch.compile` traces the module, `traced` is called instead, and becomes part of the graph; if that is None,
    nothing is. It does nothing while a model is exported, traced by `torch.jit` or `make_fx`, or called by Keras to
    learn shapes.

    A lambda or a bound method here would make `torch.save(model)` fail and would let a deep copy of the
    model (an average of the weights, say) record itself as the original. In copies and pickles a hook becomes a
    function of the standard library that takes anything and does nothing, so they load where there is no icshift.
    """

    def __init__(
        self,
        module: nn.Module,
        act: Callable[..., None],
        traced: Callable[..., None] | None = None,
        of: object = None,
        watch: AbstractContextManager[None] = _UNTIMED,
        rest: Rest = _NEVER,
        again: Callable[..., bool] = lambda *_: False,
    ) -> None:
        self.of = of
        """The attachment that put it on, by which it is found again on a module that took over the hooks of another."""
        self._module = module
        self._act = act
        self._traced = traced
        self._watch = watch
        self._rest = rest
        self._again = again

    def __call__(self, module: nn.Module, *seen: Any) -> None:
        """What PyTorch calls, with the module, its arguments and, after a forward, its output. Returns None always."""
        # The replicas that DataParallel makes are shallow copies: this module in all but identity.
        if module is not self._module and not is_replica(module):
            return
        if torch.compiler.is_compiling():
            if self._traced is not None and not is_exported():
                self._traced(module, *seen)
            return
        if self._rest.on:
            self._rest.passed_by += 1
            return
        try:
            if self._again(*seen):
                return
            if not is_written_down() and not sends_shapes(module, seen):
                with self._watch:
                    self._act(module, *seen)
        except Exception as error:  # noqa: BLE001  Whatever is wrong in here, the training goes on.
            self._act, self._again = _nothing, _nothing
            notice(f"icshift's hook on {type(module).__name__} failed, and does nothing from now on: {error!r}")

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (nullcontext(), "__exit__")


def _nothing(*_: Any) -> Any:
    pass


# Of hooks that are called between graphs (those of the outermost module, and after a graph break) the compiler would
# make graphs of their own, one a hook: soon more than it allows. It leaves them, and all that they call, as written.
leave_as_written(Hook.__call__.__code__)
