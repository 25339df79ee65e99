"""Which activation functions, normalisation modules and other operations read each site's output directly.

Dead and saturated units can be told from inputs of the nonlinearity only if it is known which one follows. The first
forwards of the model show it in two ways: a module whose argument is the very tensor that a site returned reads that
site; and the graph of gradients knows all that was computed from it, functional calls (`F.relu`) too (`readers.py`).
Where there is no such graph, it is noted that the modules may not be all.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from icshift.hooks.hook import Hook
from icshift.hooks.readers import Graph, Place, Readers, place_of
from icshift.model.layout import tensors
from icshift.model.names import changing, modules, parameters, takes_hooks
from icshift.model.sites import is_leaf, normalises
from icshift.model.torch_private import DROPOUT, MAX_POOLING, compiled_before, no_subclass_sees

_PASS_ON = (DROPOUT, MAX_POOLING, nn.Identity, nn.Flatten)
"""What reads these modules' outputs reads that of the site before: a unit is dead behind them where it is before."""

_NO_GRAPH = "no gradients were computed through it: it is frozen, compiled or checkpointed, or they were off"
_OUTSIDE = "it is read outside of any forward of the model"

_LOOKS = 3
"""So many forwards with gradients are looked at where the first leave something unseen."""


class Neighbours:
    """Finds out, from `listen` to `rest`, what reads the output of which site."""

    def __init__(self, model: nn.Module) -> None:
        self.feeds: dict[str, list[str]] = {}
        """Class names of the activation functions that read a site's output directly, by site."""
        self.others: dict[str, tuple[str, ...]] = {}
        """Names of other operations that do; "(output)" where nothing in the model does, which returns it."""
        self.unseen: dict[str, str] = {}
        """Why more may read a site's output, by site; empty where all was seen."""
        self.followed: dict[nn.Module, str] = {}
        """The site whose output each normalisation layer reads."""
        self._outputs: dict[int, tuple[weakref.ref[Tensor], str, bool]] = {}
        """By the `id` of a tensor: itself, the site that returned it, and whether it is that very output."""
        self._places: dict[str, list[Place]] = {}
        """Where each site's output is in the graph of the forward that goes on."""
        self._looks = 0
        self._model = model
        self._resting = False
        self._handles: list[RemovableHandle] = []

    def listen(self) -> None:
        """Put hooks on every activation and normalisation module, also where they were there before."""
        self.close()
        self._resting = False
        self._looks = 0
        for module in filter(takes_hooks, modules(self._model).values()):
            plain = is_leaf(module) and not any(True for _ in parameters(module)) and not changing(module)
            if isinstance(module, _PASS_ON):
                self._handles.append(module.register_forward_hook(Hook(module, self._passed_on)))
            elif normalises(module) or plain:
                self._handles.append(module.register_forward_pre_hook(Hook(module, self._read)))

    def follow(self, model: nn.Module) -> None:
        """Look at another model from now on, if at any."""
        listening = bool(self._handles)
        self.close()
        self._model = model
        if listening and not self._resting:
            self.listen()

    def note_output(self, site: str, tensor: Tensor, *, within_forward: bool = True) -> None:
        """Note that a site returned this tensor, which is kept alive by nobody here."""
        self._outputs[id(tensor)] = weakref.ref(tensor), site, True
        if not within_forward:
            self.unseen.setdefault(site, _OUTSIDE)
        elif (place := place_of(tensor)) is not None:
            self._places.setdefault(site, []).append(place)
        else:
            self.unseen.setdefault(site, _NO_GRAPH)

    def forward_ended(self, output: Any, *, of_model: bool) -> bool:
        """Look at the graph of a forward, which returned this output. Returns whether there is nothing more to learn.

        Never raises: it runs within the user's forward. `of_model` says that it was one of the whole model.
        """
        places, self._places = self._places, {}
        self._outputs.clear()
        if not places:
            return False
        try:
            # What a wrapper returned must not notice that it is looked at.
            with no_subclass_sees():
                graph = Graph(tensor for _, tensor in tensors(self._model, output))
            for site, found in places.items():
                self._learn(site, graph.readers(found), of_model)
        except Exception as error:  # noqa: BLE001  An error in here must never reach the training.
            self.unseen.update(dict.fromkeys(places, f"the graph of gradients could not be read: {error}"))
        self._looks += 1
        return self._looks == _LOOKS or not any(self.unseen.values())

    def signs(self) -> tuple[int, ...]:
        """Returns what changes where it is known of more sites what reads them."""
        return (self._looks, len(self.followed), len(self.unseen), sum(map(len, self.feeds.values())))

    def rest(self) -> None:
        """Stop listening; where anything is compiled the hooks stay, since it would be compiled again without them."""
        self._resting = True
        self._outputs.clear()
        self._places.clear()
        if not compiled_before():
            self.close()

    def close(self) -> None:
        """Take the hooks off."""
        self._places.clear()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._outputs.clear()

    def _read(self, module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if self._resting or not arguments or not isinstance(arguments[0], Tensor):
            return
        site, itself = self._site_of(arguments[0])
        if normalises(module) and itself:
            self.followed[module] = site
        elif site and not normalises(module):
            self._feed(site, type(module).__name__)

    def _passed_on(self, _: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if self._resting or not arguments or not isinstance(output, Tensor) or output is arguments[0]:
            return
        site, _itself = self._site_of(arguments[0])
        if site:
            self._outputs[id(output)] = weakref.ref(output), site, False
            if site in self._places and (place := place_of(output)) is not None:
                self._places[site].append(place)

    def _site_of(self, argument: Any) -> tuple[str, bool]:
        """Returns the site that a tensor is from, "" if from none, and whether the site returned this very object."""
        reference, site, itself = self._outputs.get(id(argument), (None, "", False))
        return ("", False) if reference is None or reference() is not argument else (site, itself)

    def _feed(self, site: str, activation: str) -> None:
        if activation not in self.feeds.setdefault(site, []):
            self.feeds[site].append(activation)

    def _learn(self, site: str, readers: Readers, of_model: bool) -> None:
        """Note what reads a site in a forward, of the whole model or of a part of it."""
        if self.unseen.get(site) == "":
            return
        for activation in readers.activations:
            self._feed(site, activation)
        returned = readers == Readers()
        self.others[site] = ("(output)",) if returned and of_model else readers.others
        self.unseen[site] = _OUTSIDE if returned and not of_model else readers.unseen
