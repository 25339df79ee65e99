"""Hooks that leave no trace: they return nothing, and copies of the model carry none of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn


class Hook:
    """Calls `act` with what one module's hook gets, and with nothing of any other module.

    While `torch.compile` traces the module, `traced` is called in its place (and traced); without it, nothing.

    A lambda or a bound method here would make `torch.save(model)` fail and would let a deep copy of the
    model (an average of the weights, say) record itself as the original. In copies and pickles a hook becomes a
    function of the standard library that takes anything and does nothing, so they load where there is no icshift.
    """

    def __init__(self, module: nn.Module, act: Callable[..., None], traced: Callable[..., None] | None = None) -> None:
        self._module = module
        self._act = act
        self._traced = traced

    def __call__(self, module: nn.Module, *seen: Any) -> None:
        """Take what PyTorch gives a hook: the module, its arguments and, after a forward, its output."""
        # The replicas that DataParallel makes are shallow copies: this module in all but identity.
        if module is not self._module and not getattr(module, "_is_replica", False):
            return
        if torch.compiler.is_compiling():
            if self._traced is not None and not torch.compiler.is_exporting():
                self._traced(module, *seen)
        elif not torch._C._is_tracing():
            self._act(module, *seen)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (nullcontext(), "__exit__")
