"""Which steps of optimizers are steps of the training that is recorded."""

from __future__ import annotations

from itertools import islice
from weakref import ref

from torch import Tensor, nn

from icshift.model.torch_private import times_written

_FEW = 8
"""Gradients that are remembered of a step after a forward: there are few reasons to ask for them."""


class Clock:
    """Counts steps: each ends with the first step of an optimizer, or the first word of the user, after a forward.

    A network that is trained without being called (its `forward` is) gives no forward to be heard. There a step ends
    with the first step of an optimizer after gradients were computed.

    >>> layer = nn.Linear(1, 1)
    >>> clock = Clock(layer)
    >>> def backward():
    ...     layer.zero_grad()
    ...     layer.weight.sum().backward()
    >>> backward()
    >>> clock.ends(heard=True), clock.ends(heard=False)
    (True, False)
    >>> backward()
    >>> clock.ends(heard=False), clock.steps, clock.unheard
    (True, 2, 1)
    """

    def __init__(self, model: nn.Module) -> None:
        self.steps = 0
        """How many have ended."""
        self.unheard = 0
        """Those of them that no forward was heard before."""
        self.changed = False
        """Whether of the last step and the one before just one was after a forward."""
        self._heard: bool | None = None
        self._model = model
        self._gradients: dict[int, tuple[ref[Tensor], int]] = {}
        """By the `id` of a parameter, the gradient that it had after the last step, and how often that was written."""
        self._all = True
        """Whether these are all that there were."""

    def ends(self, *, heard: bool) -> bool:
        """Note that an optimizer stepped, or that the user says so. Returns whether a step of the training ends.

        `heard` says whether a forward was, since the last step, that a step is computed from.
        """
        ends = self._after_forward() if heard else self._after_gradients()
        if ends:
            self.steps += 1
            self.changed, self._heard = heard != self._heard, heard
        return ends

    def _after_forward(self) -> bool:
        self._all = False
        self._gradients = self._now(_FEW)
        return True

    def _after_gradients(self) -> bool:
        now = self._now(None)
        known = [name for name in now if name in self._gradients]
        new = any(self._is_new(name, now) for name in known) or (len(now) > len(known) and (self._all or not known))
        self.unheard += new
        self._all, self._gradients = True, now
        return new

    def _now(self, most: int | None) -> dict[int, tuple[ref[Tensor], int]]:
        owned = ((id(owner), owner.grad) for owner in self._model.parameters())
        gradients = ((owner, gradient) for owner, gradient in owned if gradient is not None)
        return {owner: (ref(gradient), times_written(gradient)) for owner, gradient in islice(gradients, most)}

    def _is_new(self, name: int, now: dict[int, tuple[ref[Tensor], int]]) -> bool:
        (gradient, written), (before, written_before) = now[name], self._gradients[name]
        return gradient() is not before() or written != written_before
