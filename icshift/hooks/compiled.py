"""Hooks within `torch.compile`: two operators that carry what a hook sees out of the compiled graph.

Dynamo would trace a hook's Python, and break the graph or bake its state in. An operator is opaque to it: the graph
holds a call, and the action behind its key runs at every execution, as an eager hook would. Both operators say that
they change `TOKEN`: without that a compiler would drop them as dead code, and could change their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from icshift.model.torch_private import compiled_before, compiler_settings

TOKEN = torch.zeros(0, device="cpu")

_actions: dict[int, Callable[..., None]] = {}
_keys = count(1)
_settings_before: list[bool] = []


def register(action: Callable[..., None]) -> Tensor:
    """Returns a key for the operators: `see` calls `action(gradients, suffix, tensor)`, `mark` `action(gradients)`.

    `gradients` says whether they are computed through the graph: while it runs they are off in any case.

    The key is a tensor, since a compiler takes a number for a constant: then no two layers could share one graph, as
    those do that are compiled one by one.
    """
    key = next(_keys)
    _actions[key] = action
    return torch.tensor(key, device="cpu")


def forget(key: Tensor) -> None:
    """Make the calls with this key do nothing from now on: they stay in the graphs that are compiled."""
    _actions.pop(int(key), None)


def see(tensor: Tensor, key: Tensor, suffix: str) -> None:
    """Add a call to the graph that is being traced: at every run of it, the key's action gets this tensor."""
    torch.ops.icshift.see(tensor.detach(), TOKEN, key, suffix, 0, torch.is_grad_enabled())


def mark(key: Tensor) -> None:
    """Add a call to the graph that is being traced: at every run of it, the key's action is called."""
    torch.ops.icshift.mark(TOKEN, key, torch.is_grad_enabled())


@contextmanager
def graphs_tied_to_hooks() -> Iterator[None]:
    """A block within which a compiled graph is used only for modules that have as many hooks as when it was made.

    By default the compiler uses a graph that was made without hooks for modules with any number of them. Then a model
    would run on the graph of another of its class, or on its own from a pause, and nothing of it would be recorded.
    """
    config = compiler_settings()
    _settings_before.append(config.skip_nnmodule_hook_guards)
    config.skip_nnmodule_hook_guards = False
    try:
        yield
    finally:
        before = _settings_before.pop()
        # Of several recordings, the last one restores what was before the first, in whatever order they end.
        if not _settings_before:
            config.skip_nnmodule_hook_guards = before


def compile_again() -> None:
    """Drop every compiled graph: the next call of a model compiles it anew, with the hooks that are there by then."""
    if compiled_before():
        torch.compiler.reset()


def _see(tensor: Tensor, _: Tensor, key: Tensor, suffix: str, mapped: int, gradients: bool) -> None:
    action = _actions.get(int(key))
    if action is not None:
        show: Callable[[Tensor], Any] = partial(action, gradients, suffix)
        for _axis in range(mapped):
            show = _each(show)
        show(tensor)


def _each(show: Callable[[Tensor], Any]) -> Callable[[Tensor], Tensor]:
    """Returns a function that maps `show` over the first axis of a tensor, as `vmap` would call a hook."""

    def example(part: Tensor) -> Tensor:
        show(part)
        return part

    return torch.vmap(example)


def _see_mapped(_: Any, axes: Any, tensor: Tensor, token: Tensor, key: Tensor, suffix: str, *how: Any) -> Any:
    mapped, gradients = how
    torch.ops.icshift.see(tensor.movedim(axes[0], 0), token, key, suffix, mapped + 1, gradients)
    return None, None


def _mark(_: Tensor, key: Tensor, gradients: bool) -> None:
    action = _actions.get(int(key))
    if action is not None:
        action(gradients)


def _nothing(*_: Any) -> None:
    pass


# CUDA graphs replay kernels and no Python: these calls must stay outside of them.
_tags = [tag for name, tag in torch.Tag.__members__.items() if name == "cudagraph_unsafe"]
_library = torch.library.Library("icshift", "DEF")
for _schema, _action in (
    ("see(Tensor seen, Tensor(a!) token, Tensor key, str suffix, int mapped, bool gradients) -> ()", _see),
    ("mark(Tensor(a!) token, Tensor key, bool gradients) -> ()", _mark),
):
    _name = _library.define(_schema, tags=tuple(_tags))
    _library.impl(_name, _action, "CompositeExplicitAutograd")
    _library.impl(_name, _nothing, "Meta")
torch.library.register_vmap("icshift::see", _see_mapped, lib=_library)
