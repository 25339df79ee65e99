"""Models that are copied again and again to be trained for a few steps, as few-shot learning does for every task."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from icshift.launch.discovery import Models
from icshift.model.names import named_parameters, parameters
from icshift.record.following import follow
from icshift.record.recorder import Recorder

_FEW = 100
"""Steps that a copy takes at most before the next one is made: one that takes more is a training of its own."""


@dataclass
class _Run:
    """A run of copies: how many there were, and the last one's first step and how many modules were known then."""

    made: int
    """How many modules had been noted when the last copy was."""
    first_step: int = 0
    copies: int = 1


@dataclass
class Copies:
    """Tells which of the models that are trained is a copy that takes the place of one before it.

    A *copy* has the modules and the values of another model that lives. The first one has a run as any model has. The
    next goes on in that run, where it was made after the one before had begun to step, and that took few steps.
    """

    models: Models
    runs: dict[str, _Run] = field(default_factory=dict)
    """By the name of the run."""

    def follow(self, model: nn.Module, recorders: dict[str, Recorder]) -> str | None:
        """Let a recorder go on with a copy, and return its name; None where a model is none that takes a place."""
        made = self.models.since(model)
        if not self._is_copy(model):
            return None
        for name, run in self.runs.items():
            recorder = recorders.get(name)
            if recorder is None or not alike(recorder.model, model):
                continue
            stepped = recorder.steps - run.first_step
            if 0 < stepped <= _FEW and made > run.made:
                follow(recorder, model)
                run.made, run.first_step, run.copies = self.models.met, recorder.steps, run.copies + 1
                return name
        return None

    def begin(self, name: str, model: nn.Module) -> None:
        """Note that a model has got a run of this name."""
        if self._is_copy(model):
            self.runs[name] = _Run(self.models.met)

    def counts(self) -> dict[str, int]:
        """How many copies each run holds that holds several."""
        return {name: run.copies for name, run in self.runs.items() if run.copies > 1}

    def _is_copy(self, model: nn.Module) -> bool:
        return any(
            other is not model and alike(other, model) and _equal(other, model) for other in self.models.modules()
        )


def alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether two models are of one class, with parameters of the same names and shapes."""
    return type(one) is type(other) and _shapes(one) == _shapes(other)


def _shapes(model: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, parameter.shape) for name, parameter in named_parameters(model)]


def _equal(one: nn.Module, other: nn.Module) -> bool:
    pairs: zip[tuple[Tensor, Tensor]] = zip(parameters(one), parameters(other), strict=True)
    return all(a is not b and a.device == b.device and torch.equal(a, b) for a, b in pairs)
