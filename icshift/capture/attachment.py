"""Every hook of a recorder on its model: put on, kept up while the model grows, taken off."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as registrations

from icshift.capture import traced
from icshift.capture.hook import Hook
from icshift.capture.layout import tensors
from icshift.capture.walk import callable_parts
from icshift.errors import RecordingError


@dataclass(frozen=True)
class Listener:
    """Who is told: `saw` each tensor of a chosen module, `gave_none` of an output without any, and of forwards.

    `mask` makes the tensor that `entered` gets from the arguments of the model.
    """

    saw: Callable[[str, nn.Module, str, Tensor], None]
    gave_none: Callable[[str, Any], None]
    entered: Callable[[nn.Module, Tensor | None], None]
    left: Callable[[nn.Module], None]
    mask: Callable[..., Tensor] | None


class Attachment:
    """The hooks on one model. `choose` names the modules to watch; it is asked again when the model changes."""

    def __init__(
        self, model: nn.Module, choose: Callable[[nn.Module], dict[str, nn.Module]], listener: Listener
    ) -> None:
        self.watched = choose(model)
        self.parameters = _ids(model)
        """Identities of all parameters of the model."""
        self._model = model
        self._choose = choose
        self._listener = Listener(
            self._while_attached(listener.saw),
            self._while_attached(listener.gave_none),
            self._while_attached(listener.entered),
            self._while_attached(listener.left),
            listener.mask,
        )
        self._watching: dict[tuple[str, nn.Module], ExitStack] = {}
        self._following: dict[nn.Module, ExitStack] = {}
        self._global = ExitStack()
        self._lasting: ExitStack | None = None
        self._attached = False
        self._stale = False

    def attach(self) -> None:
        """Put all hooks on."""
        if self._lasting is None:
            self._lasting = ExitStack()
            self._lasting.callback(traced.mind_hooks())
        # Modules and parameters that come anywhere may be parts of this model: looked at when it is called next.
        for listen in (
            registrations.register_module_module_registration_hook,
            registrations.register_module_parameter_registration_hook,
        ):
            self._global.callback(listen(self._outdate).remove)
        self._stale = False
        self._attached = True
        self._put_on(self.watched)

    def detach(self) -> None:
        """Take all hooks off, in whatever state things are; they can be put on again.

        Where anything is compiled they stay and do nothing: it would be compiled again for every change of them.
        """
        self._attached = False
        self._global.close()
        if not traced.compiled_before():
            self._take_off()

    def close(self) -> None:
        """Take all hooks off for good."""
        self.detach()
        self._take_off()
        if self._lasting is not None:
            self._lasting.close()

    def refresh(self) -> bool:
        """Where modules came, went or were exchanged, hook what is there; tells whether there was reason to look."""
        if not self._stale:
            return False
        self._stale = False
        try:
            chosen = self._choose(self._model)
        except RecordingError:
            chosen = {}
        self.parameters = _ids(self._model)
        self.watched = chosen
        self._put_on(chosen)
        return True

    def _put_on(self, chosen: dict[str, nn.Module]) -> None:
        """The hooks of exactly these modules, and of the parts whose calls are forwards."""
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
        saw, gave_none = partial(self._listener.saw, name, module), self._listener.gave_none
        key = traced.register(saw)
        hooks.callback(traced.forget, key)

        def act(_: nn.Module, __: Any, output: Any) -> None:
            found = False
            for suffix, tensor in tensors(module, output):
                saw(suffix, tensor)
                found = True
            if not found:
                gave_none(name, output)

        def act_traced(_: nn.Module, __: Any, output: Any) -> None:
            for suffix, tensor in tensors(module, output):
                traced.see(tensor, key, suffix)

        hooks.callback(module.register_forward_hook(Hook(module, act, act_traced)).remove)
        return hooks

    def _follow(self, part: nn.Module) -> ExitStack:
        hooks, listener = ExitStack(), self._listener
        mask = listener.mask if part is self._model else None
        entered = traced.register(lambda _="", given=None: listener.entered(part, given))
        left = traced.register(lambda: listener.left(part))
        hooks.callback(traced.forget, entered)
        hooks.callback(traced.forget, left)

        def enter(_: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
            listener.entered(part, None if mask is None else _made(mask, args, kwargs or {}))

        def enter_traced(_: nn.Module, args: Any, kwargs: dict[str, Any] | None = None) -> None:
            if mask is None:
                traced.mark(entered)
            else:
                traced.see(mask(*args, **(kwargs or {})), entered, "")

        # Prepended before every other hook, and called even if the forward raises.
        enters = part.register_forward_pre_hook(
            Hook(part, enter, enter_traced), prepend=True, with_kwargs=mask is not None
        )
        leaves = part.register_forward_hook(
            Hook(part, lambda *_: listener.left(part), lambda *_: traced.mark(left)), always_call=True
        )
        hooks.callback(enters.remove)
        hooks.callback(leaves.remove)
        return hooks

    def _while_attached(self, tell: Callable[..., None]) -> Callable[..., None]:
        def told(*seen: Any) -> None:
            if self._attached:
                tell(*seen)

        return told

    def _take_off(self) -> None:
        _keep(self._watching, [])
        _keep(self._following, [])

    def _outdate(self, *_: Any) -> None:
        self._stale = True


def _keep(hooked: dict[Any, ExitStack], wanted: Iterable[Any]) -> None:
    for place in hooked.keys() - set(wanted):
        hooked.pop(place).close()


def _made(mask: Callable[..., Tensor], args: Any, kwargs: dict[str, Any]) -> Any:
    try:
        return mask(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  It is told of by whoever reads the mask.
        return error


def _ids(model: nn.Module) -> set[int]:
    return {id(parameter) for parameter in model.parameters()}
