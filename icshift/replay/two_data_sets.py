"""One model on two data sets: everything that `icshift shift` measures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from icshift.distribution import Distribution, Floats
from icshift.errors import RecordingError
from icshift.hooks.manifest import beginning
from icshift.inputs.batches import length
from icshift.inputs.data import Data
from icshift.model.sites import Sites
from icshift.replay.batch_norm import (
    InputStatistics,
    Statistics,
    by_batch,
    normalisations,
    running_statistics,
    together,
)
from icshift.replay.replayer import Parts, Replayer
from icshift.runs.format import Site, Window
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.writer import Recording

PARTS = 16
"""Parts that the examples of a data set are dealt to: how they differ is the noise."""

Moments = tuple[Floats, Floats, int]
"""Means and variances [units] of so many activations each."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A batch normalisation layer: its running statistics, and those of each data set, of its odd and even batches.

    `reference` and `data` are of what it gets in eval mode; `precise` is of the reference while layers normalise by the
    batch, as in training: empty where there are too few examples for that.
    """

    name: str
    eps: float
    running: Moments
    reference: Sequence[Moments]
    data: Sequence[Moments]
    precise: Sequence[Moments]


@dataclass(frozen=True, eq=False)
class Shift:
    """What a model shows of two data sets; `state` are entries of a manifest."""

    distributions: dict[tuple[str, Site], Distribution]
    parts: Parts
    layers: list[Layer]
    state: dict[str, Any]


class Measurement:
    """One model and two data sets; `sites` says what is watched, `samples` bounds the values a unit and forward."""

    def __init__(self, model: nn.Module, reference: Data, data: Data, sites: Sites, samples: float) -> None:
        self._model = model
        self._data = {REFERENCE: reference, DATA: data}
        self._sites = sites
        self._samples = samples
        self._precise = _batches_to_normalise(model, reference)

    @property
    def forwards(self) -> int:
        """How many forwards it takes."""
        return sum(len(one.parts(PARTS)) for one in self._data.values()) + len(self._precise)

    def take(self, after: Callable[[], None]) -> Shift:
        """Send both through the model in eval mode; `after` is called after each forward.

        The model is left as it was. Raises `ModelError` where it does not take the data, `RecordingError` where no
        module matches the sites or nothing was seen.
        """
        model, parts = self._model, Parts()
        in_use: dict[str, dict[str, list[Statistics]]] = {}
        with Replayer(model, self._sites, self._samples, inputs=True) as replayer:
            for phase, data in self._data.items():
                with InputStatistics(model) as inputs:

                    def ended(inputs: InputStatistics = inputs) -> None:
                        inputs.end_forward()
                        after()

                    parts |= replayer.replay_in_parts(data, phase, PARTS, ended)
                in_use[phase] = inputs.by_layer
            distributions, state = replayer.taken(), replayer.state()
        for phase, data in self._data.items():
            if not any(one == phase for one, _ in distributions):
                raise RecordingError(f"no site of {type(model).__name__} gave activations of {data.source}")
        precise = by_batch(model, self._precise, after=after) if self._precise else {}
        layers = [
            Layer(
                name,
                layer.eps,
                _moments(running),
                *(_halves(seen.get(name, [])) for seen in (in_use[REFERENCE], in_use[DATA], precise)),
            )
            for (name, running), layer in zip(
                running_statistics(model).items(), normalisations(model).values(), strict=True
            )
            if name in in_use[REFERENCE] or name in in_use[DATA]
        ]
        return Shift(distributions, parts, layers, state)

    def write(self, shift: Shift, path: Path, name: str, settings: dict[str, Any], *, force: bool) -> None:
        """A run of one window that holds both data sets as phases. Raises `RunError` where `Recording` does."""
        described = {
            phase: {
                "source": data.source,
                "examples": data.examples,
                "nonfinite": data.nonfinite,
                "fingerprint": data.fingerprint,
            }
            for phase, data in self._data.items()
        }
        recording = Recording(path, beginning(self._model, {**settings, **described}), force=force)
        recording.write_window(Window(1, name, 0, 0, closed=True), shift.distributions)
        recording.finish(shift.state)


def _batches_to_normalise(model: nn.Module, data: Data) -> tuple[Any, ...]:
    """At least two batches, without those of one example; none where there are no others, or no layer to normalise."""
    finite = data.finite()
    if not normalisations(model) or not finite.batches:
        return ()
    return tuple(batch for batch in finite.parts(2) if length(batch) > 1)


def _moments(one: Statistics) -> Moments:
    return one.mean.cpu().numpy(), one.variance.cpu().numpy(), one.n


def _halves(seen: Sequence[Statistics]) -> list[Moments]:
    return [_moments(together(half)) for half in (seen[0::2], seen[1::2]) if half]
