"""Hooks that leave no trace: they return nothing, and copies of the model carry none of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn


class Hook:
    """Calls `act` with what one module's hook gets, and with nothing of any other module.

    A lambda or a bound method here would make `torch.save(model)` fail and would let a deep copy of the
    model (an average of the weights, say) record itself as the original. In copies and pickles a hook becomes a
    function of the standard library that takes anything and does nothing, so they load where there is no icshift.
    """

    def __init__(self, module: nn.Module, act: Callable[..., None]) -> None:
        self._module = module
        self._act = act

    def __call__(self, module: nn.Module, *seen: Any) -> None:
        """Take what PyTorch gives a hook: the module, its arguments and, after a forward, its output."""
        if module is self._module:
            self._act(module, *seen)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (nullcontext(), "__exit__")
