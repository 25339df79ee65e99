"""Every hook of a recorder on its model: put on, kept up while the model grows, taken off."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registrations

from icshift.errors import RecordingError
from icshift.hooks import compiled
from icshift.hooks.arguments import fitted
from icshift.hooks.calls import Call
from icshift.hooks.hook import Hook, Rest
from icshift.hooks.placed import Placed
from icshift.model.copies import is_within
from icshift.model.keras_layers import is_layer
from icshift.model.layout import tensors
from icshift.model.names import callable_parts, every_module, modules, parameters, takes_hooks
from icshift.model.torch_private import being_called, compiled_before, in_backward, is_symbolic, no_subclass_sees
from icshift.model.unheard import hears
from icshift.notice import notice


@dataclass(frozen=True)
class Listener:
    """Functions that the hooks call within the user's forwards. None of the first five may raise."""

    on_tensor: Callable[[str, nn.Module, bool, str, Tensor], None]
    """Gets the name of a chosen module, the module, whether gradients are on, the tensor's place in the output ("" or
    as "[0]"), the tensor."""
    on_no_tensor: Callable[[str, Any], None]
    """Gets the name of a chosen module and its output, if that holds no tensor."""
    on_failure: Callable[[str, Exception], None]
    """Gets the name of a chosen module and what looking through its output raised."""
    on_entry: Callable[[Call, Any], None]
    """Gets the call of a part of the model that begins a forward (see `callable_parts`), and what `mask` returned or
    raised: None for every part but the model itself, and where there is no mask."""
    on_exit: Callable[[nn.Module, Any], None]
    """Gets the same part when its call ends, by an exception too, and what it returned: None where that is not seen."""
    mask: Callable[..., Tensor] | None
    """The user's: called with the arguments of the model, see `fitted`. It may raise."""
    watch: AbstractContextManager[None] = field(default_factory=nullcontext)
    """Within its blocks are the calls of hooks."""
    short_way: Callable[[str], Callable[..., bool]] = lambda _: lambda *_: False
    """Gets the name of a chosen module. Returns what gets what it was given and what it returned, where the hooks are
    attached, and returns whether it took that, so that `on_tensor` need not."""
    passage: Callable[[nn.Module], tuple[Callable[..., bool], Callable[..., bool]]] = lambda _: (_never, _never)
    """Gets a part of the model whose call may begin a forward, where there is no mask. Returns what gets its arguments,
    and what is called when the call ends: both return whether they did all there is to do."""
    on_known_entry: Callable[[nn.Module, Tensor], bool] = lambda *_: False
    """Gets a part of the model whose call may begin a forward, and a tensor of PyTorch's own class that is its only
    argument, where there is no mask; returns whether it did all there is to do, so that `on_entry` need not."""
    on_known_exit: Callable[[nn.Module], bool] = lambda _: False
    """Gets the same part when its call ends; returns whether it did all there is to do, so that `on_exit` need not."""
    passes: Callable[[], bool] = lambda: False
    """Returns whether a forward in training mode with gradients, while the hooks are asleep, is nothing to wake up
    for."""


class Attachment:
    """The hooks of one watcher on one model.

    `choose(model)` returns the modules to watch, by name, and may raise; when the model changes it is called again,
    with `least=0`. The functions of `listener` are called while the hooks are attached, for what `hears` lets through.
    """

    def __init__(self, model: nn.Module, choose: Callable[..., dict[str, nn.Module]], listener: Listener) -> None:
        self.watched = choose(model)
        self.parameters = _ids(model)
        """The `id` of every parameter of the model."""
        self.modules = set(modules(model).values())
        """The model and all of its parts."""
        self._model = model
        self._choose = choose
        self._listener = Listener(
            self._while_attached(listener.on_tensor),
            self._while_attached(listener.on_no_tensor),
            self._while_attached(listener.on_failure),
            self._while_attached(listener.on_entry),
            self._while_attached(listener.on_exit),
            listener.mask,
            listener.watch,
            listener.short_way,
            listener.passage,
            listener.on_known_entry,
            listener.on_known_exit,
            listener.passes,
        )
        self._watching: dict[tuple[str, nn.Module], ExitStack] = {}
        self._following: dict[nn.Module, ExitStack] = {}
        self._deeper: dict[nn.Module, None] = {}
        self.left_out: dict[str, str] = {}
        """Parts of the model, by name, that are not watched whatever is chosen, each with what it is a copy of."""
        self._global = ExitStack()
        self._lasting: ExitStack | None = None
        self.attached = False
        """Whether the hooks are on and call the listener."""
        self.rest = Rest()
        """While it is on, nothing is looked at that a module returns; forwards begin and end all the same."""
        self.asleep = False
        """Whether all hooks are lifted but those by which forwards begin."""
        self._placed: dict[Placed, None] = {}
        self._stale = False
        self.choices = 0
        """How often it was decided anew what is watched."""

    @property
    def fresh(self) -> bool:
        """Whether the hooks are on, and on all modules that are to be watched."""
        return self.attached and not self._stale

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
        if not compiled_before():
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
            chosen = self._without_left_out(self._choose(self._model, least=0))
        except Exception as error:  # noqa: BLE001  A selector of the user's may raise, but not into the training.
            there = modules(self._model)
            chosen = {name: module for name, module in self.watched.items() if there.get(name) is module}
            notice(f"icshift watches no module that came to {type(self._model).__name__}: {error}")
        self.parameters = _ids(self._model)
        self.modules = set(modules(self._model).values())
        self.watched = chosen
        self._put_on(chosen)
        return True

    def choose_again(self) -> None:
        """Watch what `choose` returns by now."""
        self.watched = self._without_left_out(self._choose(self._model, least=0))
        if self.attached:
            self._put_on(self.watched)

    def follow(self, model: nn.Module) -> None:
        """Hook another model, and the one before no longer."""
        self._take_off()
        self._model, self._stale = model, True
        self._deeper.clear()
        self.refresh()

    def leave_out(self, parts: dict[str, str]) -> None:
        """Watch nothing within these parts from now on, and no longer leave out others; see `left_out`."""
        if parts == self.left_out:
            return
        self.left_out = parts
        self.choices += 1
        self.choose_again()

    def begin_with(self, part: nn.Module) -> None:
        """Take calls of this part for forwards too, from the next one on."""
        if takes_hooks(part) and part not in self._following:
            self._deeper[part] = None
            self._following[part] = self._follow(part)

    def sleep(self) -> None:
        """Lift all hooks but those by which forwards begin, until one does that is something to `wake` up for.

        Not where anything is compiled: it would be compiled again for every change of them. Nor on layers of Keras,
        whose calls say in their arguments whether they are in training.
        """
        if self.attached and not self.asleep and not compiled_before() and not is_layer(self._model):
            self.asleep = True
            for placed in self._placed:
                placed.lift()

    def wake(self) -> None:
        """Put the lifted hooks back."""
        if self.asleep:
            self.asleep = False
            for placed in self._placed:
                placed.put_back()

    def _put_on(self, chosen: dict[str, nn.Module]) -> None:
        """Hook exactly these modules, and the parts whose calls are forwards."""
        self.wake()
        self.choices += 1
        parts = [*callable_parts(self._model), *(part for part in self._deeper if part in self.modules)]
        left_out = {module for name, module in modules(self._model).items() if is_within(name, self.left_out)}
        parts = [part for part in parts if part not in left_out]
        _keep(self._watching, chosen.items())
        _keep(self._following, parts)
        # Parts come last: a forward that is watched itself is seen before it is over.
        for name, module in chosen.items():
            if (name, module) not in self._watching:
                self._watching[name, module] = self._watch(name, module)
        for part in parts:
            if part not in self._following:
                self._following[part] = self._follow(part)

    def _without_left_out(self, chosen: dict[str, nn.Module]) -> dict[str, nn.Module]:
        return {name: module for name, module in chosen.items() if not is_within(name, self.left_out)}

    def _watch(self, name: str, module: nn.Module) -> ExitStack:
        hooks = ExitStack()
        on_tensor, on_no_tensor = partial(self._listener.on_tensor, name, module), self._listener.on_no_tensor
        key = compiled.register(on_tensor)
        hooks.callback(compiled.forget, key)
        unreadable = RecordingError("its output cannot be looked through where the model is compiled")
        failing = compiled.register(lambda _: self._listener.on_failure(name, unreadable))
        hooks.callback(compiled.forget, failing)

        def act(_: nn.Module, __: Any, output: Any) -> None:
            try:
                # A subclass of Tensor must not notice that it is looked at.
                with no_subclass_sees():
                    seen = list(tensors(module, output))
            except Exception as error:  # noqa: BLE001  It must not reach the training.
                self._listener.on_failure(name, error)
                return
            gradients = torch.is_grad_enabled()
            for suffix, tensor in seen:
                on_tensor(gradients, suffix, tensor)
            if not seen:
                on_no_tensor(name, output)

        def act_traced(_: nn.Module, __: Any, output: Any) -> None:
            try:
                seen = list(tensors(module, output))
            except Exception:  # noqa: BLE001  As above, and the compiler goes on.
                compiled.mark(failing)
                return
            for suffix, tensor in seen:
                compiled.see(tensor, key, suffix)

        known = {} if is_layer(module) else {"again": self._listener.short_way(name)}
        hook = Hook(module, act, act_traced, self, self._listener.watch, self.rest, **known)
        self._place(hooks, Placed(module, hook))
        return hooks

    def _follow(self, part: nn.Module) -> ExitStack:
        hooks, listener = ExitStack(), self._listener
        mask = fitted(listener.mask, part) if listener.mask is not None and part is self._model else None
        entered = compiled.register(lambda on, _="", given=None: listener.on_entry(Call(part, None, on), given))
        left = compiled.register(lambda _: listener.on_exit(part, None))
        problem: Any = TypeError("it gave no tensor where the model is compiled")
        without_mask = compiled.register(lambda on: listener.on_entry(Call(part, None, on), problem))
        hooks.callback(compiled.forget, without_mask)
        hooks.callback(compiled.forget, entered)
        hooks.callback(compiled.forget, left)

        passes, on_known_entry, on_known_exit = listener.passes, listener.on_known_entry, listener.on_known_exit
        looked_at = mask is None and not is_layer(part)

        begins, ends = listener.passage(part) if looked_at else (_never, _never)

        def goes_by(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
            if begins(args, kwargs):
                return True
            if not self.attached or self._stale or not hears(self):
                return False
            if not self.asleep:
                alone = looked_at and len(args) == 1 and not kwargs and type(args[0]) is Tensor
                return alone and on_known_entry(part, args[0])
            if in_backward():
                return False
            if part.training and torch.is_grad_enabled():
                return passes()
            # A frozen part of a model whose forward passes is no forward of its own: the stack knows.
            return part is not self._model and self._model in being_called()

        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            if self.asleep and not in_backward():
                self.wake()
            # What symbolic tracing passes are no tensors.
            made = None if mask is None or is_symbolic(args, kwargs) else _made(mask, args, kwargs)
            listener.on_entry(Call(part, (args, kwargs), torch.is_grad_enabled()), made)

        def enter_traced(_: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
            made = None if mask is None else _made(mask, args, kwargs)
            if isinstance(made, Tensor):
                compiled.see(made, entered, "")
            else:
                compiled.mark(entered if mask is None else without_mask)

        # Prepended before every other hook, and called even if the forward raises.
        enters = part.register_forward_pre_hook(
            Hook(part, enter, enter_traced, self, listener.watch, again=goes_by), prepend=True, with_kwargs=True
        )
        leave = Hook(
            part,
            lambda _, __, output: listener.on_exit(part, output),
            lambda *_: compiled.mark(left),
            *(self, listener.watch),
            again=lambda *_: ends() or (self.attached and hears(self) and on_known_exit(part)),
        )
        hooks.callback(enters.remove)
        self._place(hooks, Placed(part, leave, always_call=True))
        return hooks

    def _place(self, hooks: ExitStack, placed: Placed) -> None:
        self._placed[placed] = None
        hooks.callback(self._placed.pop, placed)
        hooks.callback(placed.remove)

    def _while_attached(self, act: Callable[..., None]) -> Callable[..., None]:
        def act_if_attached(*seen: Any) -> None:
            if self.attached and hears(self):
                act(*seen)

        return act_if_attached

    def _take_off(self) -> None:
        _keep(self._watching, [])
        _keep(self._following, [])
        # Some ways to exchange a module move its hooks to the new one, where their handles do not find them.
        for module in every_module(self._model):
            for hooks in (module._forward_pre_hooks, module._forward_hooks):
                for key in [key for key, hook in hooks.items() if isinstance(hook, Hook) and hook.of is self]:
                    del hooks[key]

    def _outdate(self, *_: Any) -> None:
        self._stale = True


def _never(*_: Any) -> bool:
    return False


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


def _made(mask: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What the user's mask returns for these arguments of the model, or the exception that it raises."""
    try:
        return mask(args, kwargs)
    except Exception as error:  # noqa: BLE001  Raised where the mask is read: see `padding`.
        return error


def _ids(model: nn.Module) -> set[int]:
    return {id(parameter) for parameter in parameters(model)}
