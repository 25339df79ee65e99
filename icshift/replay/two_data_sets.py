"""One model on two data sets: everything that `icshift shift` measures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from icshift.distribution import Distribution, Floats
from icshift.errors import RecordingError
from icshift.hooks.batch_norm import InputStatistics, Statistics, normalisations, running_statistics, together
from icshift.hooks.manifest import beginning
from icshift.inputs.batches import length
from icshift.inputs.data import Data
from icshift.model.sites import Sites
from icshift.replay.batch_norm import by_batch
from icshift.replay.replayer import Parts, Replayer
from icshift.runs.format import Site, Window
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.writer import Recording

PARTS = 16
"""Parts that the examples of a data set are dealt to: how they differ is the noise."""

MeanAndVariance = tuple[Floats, Floats, int]
"""Means and variances [units] of so many activations a unit."""


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """What a batch normalisation layer is given, and what it uses in its place in eval mode: its `running` statistics.

    `reference` and `data` are of what it gets of the two data sets in eval mode; `precise` is of the reference while
    layers normalise by the batch, as in training. Each is given twice, for the odd and for the even batches: how the
    two differ is the noise. `precise` is empty where there are too few examples for that. `eps` is the layer's own.
    """

    name: str
    eps: float
    running: MeanAndVariance
    reference: Sequence[MeanAndVariance]
    data: Sequence[MeanAndVariance]
    precise: Sequence[MeanAndVariance]


@dataclass(frozen=True, eq=False)
class Shown:
    """What a model shows of two data sets.

    `distributions` are of every site, by phase; `parts` are of parts of the examples, and tell the noise; `layers` are
    its batch normalisation layers; `state` holds entries of a run's manifest.
    """

    distributions: dict[tuple[str, Site], Distribution]
    parts: Parts
    layers: list[LayerStatistics]
    state: dict[str, Any]


class TwoDataSets:
    """One model and two data sets, to be sent through it.

    `sites` says what is watched; `samples` is how many values a unit and forward quantiles are made from, at most.
    """

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

    def replay(self, after: Callable[[], None]) -> Shown:
        """Send both through the model in eval mode; `after` is called after each forward.

        The model is left as it was. Raises `ModelError` where it does not take the data, `RecordingError` where no
        module matches the sites or nothing was seen.
        """
        parts: Parts = {}
        given: dict[str, dict[str, list[Statistics]]] = {}
        with Replayer(self._model, self._sites, self._samples, inputs=True) as replayer:
            for phase, data in self._data.items():
                with InputStatistics(self._model) as watch:

                    def ended(watch: InputStatistics = watch) -> None:
                        watch.end_forward()
                        after()

                    parts |= replayer.replay_in_parts(data, phase, PARTS, ended)
                given[phase] = watch.by_layer
            distributions, state = replayer.taken(), replayer.state()
        for phase, data in self._data.items():
            if not any(one == phase for one, _ in distributions):
                raise RecordingError(f"no site of {type(self._model).__name__} gave activations of {data.source}")
        precise = by_batch(self._model, self._precise, after=after) if self._precise else {}
        return Shown(distributions, parts, self._layers(given[REFERENCE], given[DATA], precise), state)

    def write(self, shown: Shown, path: Path, name: str, settings: dict[str, Any], *, force: bool) -> None:
        """Write a run of one window, called `name`, that holds both data sets as phases.

        Raises `RunError` where `Recording` does.
        """
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
        recording.write_window(Window(1, name, 0, 0, closed=True), shown.distributions)
        recording.finish(shown.state)

    def _layers(self, *given: dict[str, list[Statistics]]) -> list[LayerStatistics]:
        """The layers that got anything of either data set; what is `given` is by layer, a list entry a forward."""
        running, layers = running_statistics(self._model), normalisations(self._model)
        return [
            LayerStatistics(name, layer.eps, _as_arrays(running[name]), *(_halves(one.get(name, [])) for one in given))
            for name, layer in layers.items()
            if any(name in one for one in given[:2])
        ]


def _batches_to_normalise(model: nn.Module, data: Data) -> tuple[Any, ...]:
    """At least two batches, without those of one example; none where there are no others, or no layer to normalise."""
    finite = data.finite()
    if not normalisations(model) or not finite.batches:
        return ()
    return tuple(batch for batch in finite.parts(2) if length(batch) > 1)


def _as_arrays(one: Statistics) -> MeanAndVariance:
    return one.mean.cpu().numpy(), one.variance.cpu().numpy(), one.n


def _halves(seen: Sequence[Statistics]) -> list[MeanAndVariance]:
    """Those of the odd batches together, and of the even ones."""
    return [_as_arrays(together(half)) for half in (seen[0::2], seen[1::2]) if half]
