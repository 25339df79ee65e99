"""Hooks that leave no trace: they return nothing, and copies of the model carry none of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

_PROXY = torch._C._TorchDispatchModeKey.PROXY
"""The mode in which `make_fx` and its like run a model to write down what it does."""


class Hook:
    """A hook for one module: calls `act` with what PyTorch passes to it, and does nothing for any other module.

    While `torch.compile` traces the module, `traced` is called instead, and becomes part of the graph; if that is None,
    nothing is. It does nothing while a model is exported, or traced by `torch.jit` or `make_fx`.

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
    ) -> None:
        self.of = of
        """The attachment that put it on, by which it is found again on a module that took over the hooks of another."""
        self._module = module
        self._act = act
        self._traced = traced

    def __call__(self, module: nn.Module, *seen: Any) -> None:
        """What PyTorch calls, with the module, its arguments and, after a forward, its output. Returns None always."""
        # The replicas that DataParallel makes are shallow copies: this module in all but identity.
        if module is not self._module and not getattr(module, "_is_replica", False):
            return
        if torch.compiler.is_compiling():
            if self._traced is not None and not torch.compiler.is_exporting():
                self._traced(module, *seen)
        elif not torch._C._is_tracing() and torch._C._get_dispatch_mode(_PROXY) is None:
            self._act(module, *seen)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return getattr, (nullcontext(), "__exit__")


# Of hooks that are called between graphs (those of the outermost module, and after a graph break) the compiler would
# make graphs of their own, one a hook: soon more than it allows. It leaves them, and all that they call, as written.
_frames = torch._C._dynamo.eval_frame
if hasattr(_frames, "set_code_exec_strategy"):  # since torch 2.7
    _as_written = _frames._FrameAction.SKIP
    _frames.set_code_exec_strategy(Hook.__call__.__code__, _frames._FrameExecStrategy(_as_written, _as_written))
