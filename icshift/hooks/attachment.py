"""Every hook of a recorder on its model: put on, kept up while the model grows, taken off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.fx import _symbolic_trace
from torch.nn.modules import module as registrations

from icshift.hooks import compiled
from icshift.hooks.examples import Inputs
from icshift.hooks.hook import Hook
from icshift.model.layout import tensors
from icshift.model.names import callable_parts, modules
from icshift.model.unheard import hears
from icshift.notice import notice


@dataclass(frozen=True)
class Listener:
    """Functions that the hooks call within the user's forwards. None of the first five may raise."""

    on_tensor: Callable[[str, nn.Module, str, Tensor], None]
    """Gets the name of a chosen module, the module, the tensor's place in the output ("" or as "[0]"), the tensor."""
    on_no_tensor: Callable[[str, Any], None]
    """Gets the name of a chosen module and its output, if that holds no tensor."""
    on_failure: Callable[[str, Exception], None]
    """Gets the name of a chosen module and what looking through its output raised."""
    on_entry: Callable[[nn.Module, Any, Inputs | None], None]
    """Gets a part of the model whose call begins a forward (see `callable_parts`), what `mask` returned or raised, and
    the arguments of the call.

    The former is None for every part but the model itself, and where there is no mask; the latter are None where the
    model is compiled.
    """
    on_exit: Callable[[nn.Module, Any], None]
    """Gets the same part when its call ends, by an exception too, and what it returned: None where that is not seen."""
    mask: Callable[..., Tensor] | None
    """The user's: called with the arguments of the model. It may raise."""


class Attachment:
    """The hooks of one watcher on one model.

    `choose(model)` returns the modules to watch, by name, and may raise; when the model changes it is called again,
    with `least=0`. The functions of `listener` are called while the hooks are attached, for what `hears` lets through.
    """

    def __init__(self, model: nn.Module, choose: Callable[..., dict[str, nn.Module]], listener: Listener) -> None:
        self.watched = choose(model)
        self.parameters = _ids(model)
        """The `id` of every parameter of the model."""
        self._model = model
        self._choose = choose
        self._listener = Listener(
            self._while_attached(listener.on_tensor),
            self._while_attached(listener.on_no_tensor),
            self._while_attached(listener.on_failure),
            self._while_attached(listener.on_entry),
            self._while_attached(listener.on_exit),
            listener.mask,
        )
        self._watching: dict[tuple[str, nn.Module], ExitStack] = {}
        self._following: dict[nn.Module, ExitStack] = {}
        self._global = ExitStack()
        self._lasting: ExitStack | None = None
        self.attached = False
        """Whether the hooks are on and call the listener."""
        self._stale = False

    def attach(self) -> None:
        """Put all hooks on."""
        if self._lasting is None:
            self._lasting = ExitStack()
            self._lasting.enter_context(compiled.graphs_tied_to_hooks())
        # Modules and parameters that come anywhere may be parts of this model: looked at when it is called next.
        for listen in (
            registrations.register_module_module_registration_hook,
            registrations.register_module_parameter_registration_hook,
        ):
            self._global.callback(listen(self._outdate).remove)
        self._stale = False
        self.attached = True
        _attached.add(self)
        self._put_on(self.watched)

    def detach(self) -> None:
        """Take all hooks off, also if they are only half on; `attach` may put them on again.

        Where anything is compiled the hooks stay and do nothing: it would be compiled again for every change of them.
        """
        self.attached = False
        _attached.discard(self)
        self._global.close()
        if not compiled.compiled_before():
            self._take_off()

    def close(self) -> None:
        """Take all hooks off for good, where anything is compiled too."""
        self.detach()
        self._take_off()
        if self._lasting is not None:
            self._lasting.close()

    def refresh(self) -> bool:
        """Hook the modules that are there now, if any came or went. Returns whether there was a reason to look."""
        if not self._stale or not self.attached:
            return False
        self._stale = False
        try:
            chosen = self._choose(self._model, least=0)
        except Exception as error:  # noqa: BLE001  A selector of the user's may raise, but not into the training.
            there = modules(self._model)
            chosen = {name: module for name, module in self.watched.items() if there.get(name) is module}
            notice(f"icshift watches no module that came to {type(self._model).__name__}: {error}")
        self.parameters = _ids(self._model)
        self.watched = chosen
        self._put_on(chosen)
        return True

    def _put_on(self, chosen: dict[str, nn.Module]) -> None:
        """Hook exactly these modules, and the parts whose calls are forwards."""
        parts = callable_parts(self._model)
        _keep(self._watching, chosen.items())
        _keep(self._following, parts)
        # Parts come last: a forward that is watched itself is seen before it is over.
        for name, module in chosen.items():
            if (name, module) not in self._watching:
                self._watching[name, module] = self._watch(name, module)
        for part in parts:
            if part not in self._following:
                self._following[part] = self._follow(part)

    def _watch(self, name: str, module: nn.Module) -> ExitStack:
        hooks = ExitStack()
        on_tensor, on_no_tensor = partial(self._listener.on_tensor, name, module), self._listener.on_no_tensor
        key = compiled.register(on_tensor)
        hooks.callback(compiled.forget, key)

        def act(_: nn.Module, __: Any, output: Any) -> None:
            try:
                # A subclass of Tensor must not notice that it is looked at.
                with torch._C.DisableTorchFunction():
                    seen = list(tensors(module, output))
            except Exception as error:  # noqa: BLE001  It must not reach the training.
                self._listener.on_failure(name, error)
                return
            for suffix, tensor in seen:
                on_tensor(suffix, tensor)
            if not seen:
                on_no_tensor(name, output)

        def act_traced(_: nn.Module, __: Any, output: Any) -> None:
            for suffix, tensor in tensors(module, output):
                compiled.see(tensor, key, suffix)

        hooks.callback(module.register_forward_hook(Hook(module, act, act_traced, self)).remove)
        return hooks

    def _follow(self, part: nn.Module) -> ExitStack:
        hooks, listener = ExitStack(), self._listener
        mask = listener.mask if part is self._model else None
        entered = compiled.register(lambda _="", given=None: listener.on_entry(part, given, None))
        left = compiled.register(lambda: listener.on_exit(part, None))
        problem: Any = TypeError("it gave no tensor where the model is compiled")
        without_mask = compiled.register(lambda: listener.on_entry(part, problem, None))
        hooks.callback(compiled.forget, without_mask)
        hooks.callback(compiled.forget, entered)
        hooks.callback(compiled.forget, left)

        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            # What symbolic tracing passes are no tensors.
            made = None if mask is None or _symbolic_trace._is_fx_tracing_flag else _made(mask, args, kwargs)
            listener.on_entry(part, made, (args, kwargs))

        def enter_traced(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            made = None if mask is None else _made(mask, args, kwargs)
            if isinstance(made, Tensor):
                compiled.see(made, entered, "")
            else:
                compiled.mark(entered if mask is None else without_mask)

        # Prepended before every other hook, and called even if the forward raises.
        enters = part.register_forward_pre_hook(Hook(part, enter, enter_traced, self), prepend=True, with_kwargs=True)
        leaves = part.register_forward_hook(
            Hook(part, lambda _, __, output: listener.on_exit(part, output), lambda *_: compiled.mark(left), self),
            always_call=True,
        )
        hooks.callback(enters.remove)
        hooks.callback(leaves.remove)
        return hooks

    def _while_attached(self, act: Callable[..., None]) -> Callable[..., None]:
        def act_if_attached(*seen: Any) -> None:
            if self.attached and hears(self):
                act(*seen)

        return act_if_attached

    def _take_off(self) -> None:
        _keep(self._watching, [])
        _keep(self._following, [])
        # Some ways to exchange a module move its hooks to the new one, where their handles do not find them.
        for module in self._model.modules():
            for hooks in (module._forward_pre_hooks, module._forward_hooks):
                for key in [key for key, hook in hooks.items() if isinstance(hook, Hook) and hook.of is self]:
                    del hooks[key]

    def _outdate(self, *_: Any) -> None:
        self._stale = True


_attached: WeakSet[Attachment] = WeakSet()


def _let_go() -> None:
    """Take off the copies of hooks that a forked child inherited, as a worker of a DataLoader."""
    for attachment in list(_attached):
        attachment.detach()


os.register_at_fork(after_in_child=_let_go)


def _keep(hooked: dict[Any, ExitStack], wanted: Iterable[Any]) -> None:
    """Take the hooks off all that is not wanted."""
    for place in hooked.keys() - set(wanted):
        hooked.pop(place).close()


def _made(mask: Callable[..., Tensor], args: Any, kwargs: dict[str, Any]) -> Any:
    """What the user's mask returns for these arguments of the model, or the exception that it raises."""
    try:
        return mask(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  Raised where the mask is read: see `padding`.
        return error


def _ids(model: nn.Module) -> set[int]:
    return {id(parameter) for parameter in model.parameters()}
