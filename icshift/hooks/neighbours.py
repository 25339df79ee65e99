"""Which activation or normalisation module reads each site's output directly.

Dead and saturated units can be told from inputs of the nonlinearity only if it is known which one follows. The first
forward of the model shows it: a module whose argument is the very tensor that a site returned reads that site.
Functional calls (`F.relu`) cannot be seen this way; such sites are left without the health figures that need it.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from icshift.hooks.compiled import compiled_before
from icshift.hooks.hook import Hook
from icshift.model.names import modules, takes_hooks
from icshift.model.sites import is_leaf, normalises

_NOT_ACTIVATIONS = (nn.Dropout, nn.Identity, nn.Flatten)


class Neighbours:
    """Finds out, from `listen` to `rest`, which module reads the output of which site."""

    def __init__(self, model: nn.Module) -> None:
        self.feeds: dict[str, list[str]] = {}
        """Class names of the activation modules that read a site's output directly, by site."""
        self.followed: dict[nn.Module, str] = {}
        """The site whose output each normalisation layer reads."""
        self._outputs: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self._model = model
        self._resting = False
        self._handles: list[RemovableHandle] = []

    def listen(self) -> None:
        """Put hooks on every activation and normalisation module."""
        self.close()
        self._resting = False
        for module in filter(takes_hooks, modules(self._model).values()):
            plain = is_leaf(module) and not any(True for _ in module.parameters()) and not list(module.buffers())
            if normalises(module) or (plain and not isinstance(module, _NOT_ACTIVATIONS)):
                self._handles.append(module.register_forward_pre_hook(Hook(module, self._read)))

    def note_output(self, site: str, tensor: Tensor) -> None:
        """Note that a site returned this tensor, which is kept alive by nobody here."""
        self._outputs[id(tensor)] = weakref.ref(tensor), site

    def rest(self) -> None:
        """Stop listening; where anything is compiled the hooks stay, since it would be compiled again without them."""
        self._resting = True
        self._outputs.clear()
        if not compiled_before():
            self.close()

    def close(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._outputs.clear()

    def _read(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self._resting or not arguments or not isinstance(arguments[0], Tensor):
            return
        reference, site = self._outputs.get(id(arguments[0]), (None, ""))
        if reference is None or reference() is not arguments[0]:
            return
        if normalises(module):
            self.followed[module] = site
        elif type(module).__name__ not in self.feeds.setdefault(site, []):
            self.feeds[site].append(type(module).__name__)
