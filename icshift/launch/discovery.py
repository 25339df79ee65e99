"""Which models a script trains: found among all living modules, which are known as soon as they get a part."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registrations
from torch.optim.optimizer import Optimizer

from icshift.model import keras_layers
from icshift.model.names import modules, own_parameters, unwrapped

_FRUITLESS = 2
"""So many scans that meet no module unknown before, and there is no other: each may take a second."""


class Models:
    """Knows the modules of the process, and which of them hold a parameter; it keeps none of them alive.

    Within `listening` every module is noted when it gets a parameter or a part, or is copied or unpickled. All objects
    of the process are looked through (a *scan*) only for a parameter that no known module holds: for what was there
    before, and for modules that get their parts in another way.

    >>> models = Models()
    >>> with models.listening():
    ...     network = nn.Sequential(nn.Linear(2, 1))
    ...     found = models.holding(network.parameters())
    >>> found == [network], models.scans
    (True, 0)
    """

    def __init__(self) -> None:
        self.scans = 0
        """How often all objects of the process were looked through."""
        self.met = 0
        """How many modules were noted so far."""
        self._alive: dict[int, tuple[weakref.ref[nn.Module], int]] = {}
        self._roots: dict[int, tuple[weakref.ref[Tensor], list[weakref.ref[nn.Module]]]] = {}
        self._fruitless = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A block within which modules are noted as they come."""
        restore = nn.Module.__setstate__

        @wraps(restore)
        def restore_and_tell(module: nn.Module, state: Any) -> None:
            restore(module, state)
            self._note(module)

        def registered(module: nn.Module, _: str, part: Any) -> None:
            if not torch.compiler.is_compiling():
                self._note(module)
                if issubclass(type(part), nn.Module):
                    self._note(part)

        with ExitStack() as stack:
            stack.callback(registrations.register_module_module_registration_hook(registered).remove)
            stack.callback(registrations.register_module_parameter_registration_hook(registered).remove)
            stack.callback(setattr, nn.Module, "__setstate__", restore)
            nn.Module.__setstate__ = restore_and_tell  # type: ignore[method-assign]
            yield

    def holding(self, parameters: Iterable[Tensor]) -> list[nn.Module]:
        """The outermost modules that hold any of these parameters, in their order.

        A module of TorchScript is left out: it takes no hooks. Modules hold nothing but `nn.Parameter`.
        """
        wanted: list[Tensor] = [parameter for parameter in parameters if isinstance(parameter, nn.Parameter)]
        unknown = [parameter for parameter in wanted if self._known(parameter) is None]
        if unknown:
            self._learn(unknown)
            if any(self._known(parameter) is None for parameter in unknown) and self._scan():
                self._learn(unknown)
        roots = dict.fromkeys(root for parameter in wanted for root in self._known(parameter) or ())
        return self._without_views([root for root in roots if not isinstance(root, torch.jit.ScriptModule)])

    def since(self, module: nn.Module) -> int:
        """How many modules had been noted when this one was; 0 for one that never was."""
        known = self._alive.get(id(module))
        return known[1] if known is not None and known[0]() is module else 0

    def modules(self) -> list[nn.Module]:
        """All that are known and live."""
        living = (reference() for reference, _ in list(self._alive.values()))
        return [module for module in living if module is not None and "_modules" in vars(module)]

    def _without_views(self, roots: list[nn.Module]) -> list[nn.Module]:
        """Those of these models that are no other's layers once more, as an encoder is of its autoencoder in Keras.

        Of two with the same layers it is the first that has an optimizer, else the first.
        """
        held = {root: _with_weights(root) for root in roots if keras_layers.is_layer(root)}
        order = sorted(
            held, key=lambda root: (-len(held[root]), not keras_layers.has_optimizer(root), self.since(root))
        )
        views = {root for at, root in enumerate(order) if any(held[root] <= held[other] for other in order[:at])}
        return [root for root in roots if root not in views]

    def _note(self, module: nn.Module) -> None:
        key = id(module)
        known = self._alive.get(key)
        if known is None or known[0]() is not module:
            self.met += 1
            self._alive[key] = weakref.ref(module, self._forget(key)), self.met

    def _forget(self, key: int) -> Any:
        def forget(gone: Any) -> None:
            known = self._alive.get(key)
            if known is not None and known[0] is gone:
                del self._alive[key]

        return forget

    def _known(self, parameter: Tensor) -> list[nn.Module] | None:
        """The outermost modules that hold a parameter, as far as that was learnt; None where one of them is gone."""
        reference, roots = self._roots.get(id(parameter), (None, []))
        if reference is None or reference() is not parameter:
            return None
        living = [root for reference in roots if (root := reference()) is not None]
        return living if len(living) == len(roots) else None

    def _learn(self, parameters: list[Tensor]) -> None:
        """Look at every known module for one that holds any of these; and learn the same of all parameters beside."""
        alive = self.modules()
        parents: dict[nn.Module, list[nn.Module]] = {}
        for module in alive:
            for part in _parts(module):
                parents.setdefault(part, []).append(module)
        wanted = {id(parameter): parameter for parameter in parameters}
        owners: dict[int, list[nn.Module]] = {}
        for module in alive:
            for parameter in _held(module):
                if id(parameter) in wanted:
                    owners.setdefault(id(parameter), []).append(module)
        above: dict[nn.Module, list[nn.Module]] = {}
        for key, holders in owners.items():
            outermost = dict.fromkeys(root for module in holders for root in _above(module, parents, above))
            self._roots[key] = weakref.ref(wanted[key]), [weakref.ref(root) for root in outermost]

    def _scan(self) -> bool:
        """Look for modules among all objects. Returns whether one was met that was not known."""
        if self._fruitless >= _FRUITLESS:
            return False
        self.scans += 1
        before = self.met
        for thing in gc.get_objects():
            if issubclass(type(thing), nn.Module) and "_modules" in vars(thing):
                self._note(thing)
        self._fruitless += self.met == before
        return self.met > before


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """All parameters of an optimizer."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _held(module: nn.Module) -> list[Any]:
    """The parameters of a module itself; a layer of Keras has its own before torch knows of them."""
    if keras_layers.is_layer(module):
        return list(keras_layers.weights(module).values())
    return list(vars(module).get("_parameters", {}).values())


def _with_weights(model: nn.Module) -> frozenset[nn.Module]:
    return frozenset(module for module in modules(model).values() if own_parameters(module))


def _parts(module: nn.Module) -> list[nn.Module]:
    parts = vars(module)["_modules"]
    # Some classes that look like modules have a `_modules` of their own kind.
    held = [part for part in parts.values() if part is not None] if isinstance(parts, dict) else []
    return [*held, *(part for _, part in keras_layers.parts(module))] if keras_layers.is_layer(module) else held


def _above(
    module: nn.Module, parents: dict[nn.Module, list[nn.Module]], found: dict[nn.Module, list[nn.Module]]
) -> list[nn.Module]:
    """The outermost modules above a module, itself where nothing is; `found` are those that were asked for before."""
    if module not in found:
        waiting, met, roots = [module], set(), []
        while waiting:
            one = waiting.pop()
            if one not in met:
                met.add(one)
                waiting += parents.get(one, [])
                if one not in parents:
                    roots.append(unwrapped(one))
        found[module] = roots
    return found[module]
