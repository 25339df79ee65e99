"""The measurements of `icshift shift`: the activations and the batch norm statistics of one model on two data sets."""

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
"""Number of parts that the examples of a data set are dealt to: the noise is computed from their differences."""

MeanAndVariance = tuple[Floats, Floats, int]
"""Means [units], variances [units], and the number of activations a unit that they were computed from."""


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """The statistics of one batch normalisation layer: those that it uses, and those of its inputs.

    `running` are its running statistics, which it uses in eval mode. `reference` and `data` are those of its inputs in
    eval mode, on either data set; `precise` are those of its inputs on the reference while all layers normalise by the
    batch, as in training. Each of the three holds two entries, of the odd and of the even batches, whose difference is
    the noise; it has fewer where there were too few batches. `eps` is the layer's own.
    """

    name: str
    eps: float
    running: MeanAndVariance
    reference: Sequence[MeanAndVariance]
    data: Sequence[MeanAndVariance]
    precise: Sequence[MeanAndVariance]


@dataclass(frozen=True, eq=False)
class Shown:
    """What was recorded of a model on two data sets.

    `distributions` holds the activations by (phase, site), `parts` those of each part of the examples, from which the
    noise is computed. `layers` are the statistics of the batch normalisation layers, `state` entries of the manifest of
    a run.
    """

    distributions: dict[tuple[str, Site], Distribution]
    parts: Parts
    layers: list[LayerStatistics]
    state: dict[str, Any]


class TwoDataSets:
    """One model and two data sets: `replay` sends these through it, `write` makes a run of what was recorded.

    `sites` says which modules are watched; quantiles are made from at most `samples` values a unit and forward.
    """

    def __init__(self, model: nn.Module, reference: Data, data: Data, sites: Sites, samples: float) -> None:
        self._model = model
        self._data = {REFERENCE: reference, DATA: data}
        self._sites = sites
        self._samples = samples
        self._precise = _batches_to_normalise(model, reference)

    @property
    def forwards(self) -> int:
        """The number of forwards that `replay` takes."""
        return sum(len(data.parts(PARTS)) for data in self._data.values()) + len(self._precise)

    def replay(self, after: Callable[[], None]) -> Shown:
        """Send both data sets through the model in eval mode; `after` is called after each forward.

        The model is left as it was. Raises `ModelError` where it does not take the data, `RecordingError` where no
        module matches the sites or nothing was seen.
        """
        parts: Parts = {}
        given: dict[str, dict[str, list[Statistics]]] = {}
        with Replayer(self._model, self._sites, self._samples, inputs=True) as replayer:
            replayer.look(self._data[REFERENCE])
            for phase, data in self._data.items():
                with InputStatistics(self._model) as inputs:

                    def ended(inputs: InputStatistics = inputs) -> None:
                        inputs.end_forward()
                        after()

                    parts |= replayer.replay_in_parts(data, phase, PARTS, ended)
                given[phase] = inputs.by_layer
            distributions, state = replayer.taken(), replayer.state()
        for phase, data in self._data.items():
            if not any(recorded == phase for recorded, _ in distributions):
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
        """Returns the statistics of the layers that either data set reached.

        `given` are those of the inputs on the reference, on the data, and of the precise pass: by layer, one entry for
        each forward.
        """
        running, layers = running_statistics(self._model), normalisations(self._model)
        return [
            LayerStatistics(
                name, layer.eps, _as_arrays(running[name]), *(_halves(by_layer.get(name, [])) for by_layer in given)
            )
            for name, layer in layers.items()
            if any(name in by_layer for by_layer in given[:2])
        ]


def _batches_to_normalise(model: nn.Module, data: Data) -> tuple[Any, ...]:
    """Returns the finite examples in at least two batches, less the batches of one example, which cannot normalise.

    There are none where no example is finite, or where the model has no batch normalisation layer.
    """
    finite = data.finite()
    if not normalisations(model) or not finite.batches:
        return ()
    return tuple(batch for batch in finite.parts(2) if length(batch) > 1)


def _as_arrays(statistics: Statistics) -> MeanAndVariance:
    return statistics.mean.cpu().numpy(), statistics.variance.cpu().numpy(), statistics.n


def _halves(seen: Sequence[Statistics]) -> list[MeanAndVariance]:
    """Returns the statistics of the odd batches together and of the even ones, of those that there are."""
    return [_as_arrays(together(half)) for half in (seen[0::2], seen[1::2]) if half]
