"""Which steps of optimizers are steps of the training that is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from weakref import ref

from torch import Tensor, nn

from icshift.model.names import parameters
from icshift.model.torch_private import in_backward, times_written


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

    def __init__(self, model: nn.Module, changes: Callable[[], object] = object) -> None:
        """`changes` returns something else where the model may have other parameters than when it was called before."""
        self.steps = 0
        """How many have ended."""
        self.unheard = 0
        """Those of them that no forward was heard before."""
        self.changed = False
        """Whether of the last step and the one before just one was after a forward."""
        self._heard: bool | None = None
        self._model = model
        self._changes = changes
        self._parameters: tuple[object, list[nn.Parameter]] = None, []
        self._partly = False
        """Whether `_gradients` has but one of those after the last step."""
        self._gradients: dict[int, tuple[ref[Tensor], int]] = {}
        """By the `id` of a parameter, the gradient that it had after the last step, and how often that was written."""

    def follow(self, model: nn.Module) -> None:
        """Look at the gradients of another model from now on, in place of the one before."""
        self._model, self._gradients, self._parameters, self._partly = model, {}, (None, []), False

    def ends(self, *, heard: bool) -> bool:
        """Note that an optimizer stepped, or that the user says so. Returns whether a step of the training ends.

        `heard` says whether a forward was, since the last step, that a step is computed from.
        """
        before, self._gradients = self._gradients, self._now()
        owners, self._partly = before if self._partly else self._gradients, False
        # What steps within a backward pass, parameter by parameter, steps for the forward that was heard before it.
        unheard = not heard and not in_backward() and any(self._is_new(owner, before) for owner in owners)
        if heard or unheard:
            self.steps += 1
            self.unheard += unheard
            self.changed, self._heard = heard != self._heard, heard
        return heard or unheard

    def passes(self) -> bool:
        """Note that a step after a forward ended, as all did so far; False, and nothing, where one did not.

        Of the gradients one is looked at then: whether there are new ones before the next forward is seen by it.
        """
        if self.unheard or not self._heard:
            return False
        self.steps += 1
        self._gradients, self._partly = {}, True
        for owner in self._parameters[1]:
            if (grad := owner.grad) is not None:
                self._gradients[id(owner)] = ref(grad), times_written(grad)
                break
        return True

    def _now(self) -> dict[int, tuple[ref[Tensor], int]]:
        changes = self._changes()
        if changes != self._parameters[0]:
            self._parameters = changes, list(parameters(self._model))
        return dict(self._there())

    def _there(self) -> Iterator[tuple[int, tuple[ref[Tensor], int]]]:
        """The gradients that there are, by the parameter, among those that the model had at the last whole look."""
        for owner in self._parameters[1]:
            if (grad := owner.grad) is not None:
                yield id(owner), (ref(grad), times_written(grad))

    def _is_new(self, owner: int, before: dict[int, tuple[ref[Tensor], int]]) -> bool:
        if owner not in self._gradients:
            return False
        if owner not in before:
            return True
        (gradient, written), (gradient_before, written_before) = self._gradients[owner], before[owner]
        return gradient() is not gradient_before() or written != written_before
