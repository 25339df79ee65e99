"""Which phase a forward is recorded under, and whether a step is computed from it: known when it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from torch import nn

from icshift.hooks.calls import Call
from icshift.hooks.examples import Inputs
from icshift.model.keras_layers import is_layer, told_training
from icshift.model.names import parameters
from icshift.model.sites import is_leaf, normalises
from icshift.runs.phases import EVAL, NO_GRAD, TRAIN, is_probe


@dataclass(frozen=True)
class Forward:
    """A forward of a model that is being recorded: its phase, and whether the step to come is computed from it."""

    phase: str
    stepping: bool


class Forwards:
    """Names the forwards of a model: after the label that is set, else after the mode of the module that is called.

    What is called may be a part of the model, as the network that a task of its own holds: then the mode of the whole
    says nothing. In training mode without gradients (an agent that acts) a forward is of the phase `no-grad`.

    >>> from torch import nn
    >>> task = nn.ModuleDict({"net": nn.Sequential(nn.Linear(2, 2)).eval()})
    >>> forwards = Forwards(task)
    >>> forwards.begun(Call(task["net"], None, gradients=False)), forwards.begun(Call(task, None, gradients=False))
    (Forward(phase='eval', stepping=False), Forward(phase='no-grad', stepping=False))
    >>> with forwards.labelled("fake"):
    ...     forwards.begun(Call(task, None, gradients=True))
    Forward(phase='fake', stepping=True)
    """

    def __init__(self, model: nn.Module) -> None:
        self.evaluation: Callable[[Inputs | None], str] = lambda _: EVAL
        """Returns the phase of a forward in eval mode with these inputs: another where they are known to be from
        elsewhere."""
        self.sites: set[str] = set()
        """Those that were heard in training mode."""
        self.trained = self.acted = False
        """Whether there was a forward, since `next_step`, that a step is computed from; one of the phase `no-grad`."""
        self.called = False
        """Whether a forward began with the model itself."""
        self._computed = self._evaluated = False
        self._model = model
        self._label: str | None = None

    def follow(self, model: nn.Module) -> None:
        """Name the forwards of another model from now on, in place of the one before."""
        self._model = model

    @property
    def labelled_now(self) -> bool:
        """Whether forwards that begin now have a label."""
        return self._label is not None

    @contextmanager
    def labelled(self, label: str) -> Iterator[None]:
        """A block whose forwards are of the phase of this name."""
        before, self._label = self._label, label
        try:
            yield
        finally:
            self._label = before

    def begun(self, call: Call) -> Forward:
        """Returns the forward that begins with this call."""
        forward = self._named(call)
        self.called |= call.part is self._model
        self.trained |= forward.stepping
        self.acted |= forward.phase == NO_GRAD
        self._evaluated |= call.gradients and not forward.stepping
        self._computed |= forward.stepping and call.gradients
        return forward

    def trains(self, part: nn.Module) -> None:
        """Note that one that is `TRAINED` begins with this part."""
        self.called |= part is self._model
        self.trained = self._computed = True

    def took(self, site: str, forward: Forward) -> None:
        """Note that a site was heard in this forward."""
        if forward.stepping or forward.phase == NO_GRAD:
            self.sites.add(site)

    def trained_sites(self, *, heard: bool) -> set[str] | None:
        """The sites whose modules were called for a step; none where the last one followed no forward that was `heard`.

        None where that cannot be told: a training may make gradients of its own, or compute them in eval mode.
        """
        return self.sites if heard else None if self.acted or self._evaluated else set()

    def next_step(self) -> None:
        """Forwards that begin from now on belong to another step."""
        self.trained = self.acted = self._evaluated = False

    @property
    def trains_without_gradients(self) -> bool:
        """Whether there were forwards in training mode since `next_step`, and never any with gradients."""
        return self.acted and not self._computed

    def _named(self, call: Call) -> Forward:
        training = self._training(call)
        if self._label is not None:
            return _forward(self._label, training and not is_probe(self._label))
        if not training:
            return _forward(self.evaluation(call.inputs), False)
        return TRAINED if call.gradients else _forward(NO_GRAD, False)

    def _training(self, call: Call) -> bool:
        """Whether what is called is in training mode.

        What is always in eval mode, as a frozen network that features are taken from, or a frozen layer of batch norm,
        is in the mode of the model.
        """
        part, training = call.part, _mode(call)
        if training or not self._model.training:
            return training
        return (is_leaf(part) and normalises(part)) or not any(p.requires_grad for p in parameters(part))


@cache
def _forward(phase: str, stepping: bool) -> Forward:
    """Forwards of one kind are one object, by which `Known` knows them."""
    return Forward(phase, stepping)


TRAINED = _forward(TRAIN, True)
"""Any forward that a step is computed from, without a label."""


def _mode(call: Call) -> bool:
    """The mode of what is called. That of a layer of Keras is an argument; without it, it trains where gradients are.

    Keras sets the mode that torch knows in `fit` and `evaluate` alone, and of some layers alone.
    """
    if not is_layer(call.part):
        return call.part.training
    told = told_training(call.inputs)
    return call.gradients if told is None else told
