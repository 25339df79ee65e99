"""Inputs sent through a model that is not training, and what every site shows of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from icshift.distribution import SAMPLE_QUANTILES, Distribution, Sample, ordered, slice_means, weighted_values
from icshift.errors import ModelError
from icshift.hooks.batch_norm import evaluating_as_trained
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.padding import Padding
from icshift.hooks.readers import graph_alone
from icshift.hooks.watcher import Keeper, Watcher
from icshift.inputs.batches import Batch, forward
from icshift.inputs.data import Data
from icshift.model.layout import tensors
from icshift.model.modes import NormalisedBy, evaluating
from icshift.model.sites import Sites
from icshift.runs.format import Site
from icshift.runs.phases import PROBE

INPUT = "(input)"
"""The name of the site that stands for the model's own inputs; several are named `(input).x`, `(input).y`."""


class Input(nn.Module):
    """Stands for the module of the model's arguments, which no module returns."""


Parts = dict[tuple[str, str], list[Sample]]
"""By phase and name of a site, what each part of the examples showed."""


class Replayer:
    """Sends inputs through a model at rest and keeps what every site shows; it listens only while it sends.

    `samples` bounds the values a unit and forward that quantiles are made from (infinity: none). With `inputs`, the
    floating-point arguments of the model are sites too, named after `INPUT`. Of several processes that each send other
    inputs, `rank` is this one's: the first alone keeps examples. `taken` returns what was kept. Leaving its `with`
    block takes the last hooks off. Raises `RecordingError` if no module matches `sites`.

    >>> import torch
    >>> from icshift.inputs.data import Reading, as_data
    >>> model, inputs = nn.Sequential(nn.Identity()), torch.tensor([[1.0], [3.0]])
    >>> with Replayer(model, Sites("0"), 64) as replayer:
    ...     replayer.replay(as_data(inputs, model, Reading()), "probe")
    ...     seen = replayer.taken()
    >>> [(phase, site.name, distribution.mean.tolist()) for (phase, site), distribution in seen.items()]
    [('probe', '0', [2.0])]
    """

    def __init__(self, model: nn.Module, sites: Sites, samples: float, *, inputs: bool = False, rank: int = 0) -> None:
        self.model = model
        self._inputs = inputs
        self._input = Input()
        self._phase = ""
        self._observer = Observer(sites, samples, SEED + rank, lambda *_: None)
        self._keeps_examples = not rank
        self._part = Observer(sites, samples, SEED, lambda *_: None)
        self._dealing = False
        self._looking = False
        keeper = Keeper(self._take, self._tick, _never)
        self._watcher = Watcher(model, sites, self._observer, keeper)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.close()

    def look(self, data: Data) -> None:
        """Send the first batch through with gradients, whose graph says what reads which site; nothing else is kept.

        Where the model does not take it, the replay says so; where it gives no gradients, the sites do. To be called
        before the first replay: later it does nothing.
        """
        if self._observer.sites:
            return
        self._looking = True
        try:
            with evaluating(self.model), self._listening(), graph_alone(self.model):
                forward(self.model, data.batches[0], data.source)
        except Exception:  # noqa: BLE001  Said elsewhere, as above.
            pass
        finally:
            self._looking = False

    def replay(self, data: Data, phase: str, normalised_by: NormalisedBy = "running") -> None:
        """Send the data through the model in eval mode, and keep what is seen under this phase.

        Batch norm normalises by its running averages or by each batch. Phases of a probe draw the same places every
        time, and keep the activations of the same examples. The model is left as it was. Raises `ModelError` where it
        does not take the data.
        """
        self._observer.restart_probe(len(data.batches) if self._keeps_examples else 0)
        with evaluating(self.model, normalised_by), self._listening():
            for batch in data.batches:
                self._send(batch, data.source, phase)

    def replay_as_trained(self, data: Data, phase: str, whole: Data | None = None) -> None:
        """The same with layers that keep running averages normalising as in training: `evaluating_as_trained`.

        Statistics are of the examples that are finite, of the `whole` data where `data` are a share of these. Raises
        `ModelError` too where they are too few.
        """

        def send(after: Callable[[], None]) -> None:
            if not (batches := (whole or data).finite().batches):
                raise ModelError(f"{data.source} holds no example that is finite")
            for batch in batches:
                forward(self.model, batch, data.source)
                after()

        self._observer.restart_probe(len(data.batches) if self._keeps_examples else 0)
        with evaluating_as_trained(self.model, send), self._listening():
            for batch in data.batches:
                self._send(batch, data.source, phase)

    def replay_in_parts(self, data: Data, phase: str, parts: int, after: Callable[[], None]) -> Parts:
        """Do as `replay`, and return what each of so many parts of the examples shows on its own.

        The parts say how much what a model shows varies with the examples; there are fewer where there are not so many
        examples. `after` is called after each forward.
        """
        batches = data.parts(parts)
        edges = np.linspace(0, len(batches), min(parts, len(batches)) + 1).round().astype(int)
        seen: Parts = {}
        with evaluating(self.model), self._listening():
            self._dealing = True
            try:
                for start, stop in pairwise(edges):
                    for batch in batches[start:stop]:
                        self._send(batch, data.source, phase)
                        after()
                    for (_, site), distribution in self._part.distributions().items():
                        seen.setdefault((phase, site.name), []).append(_reduced(distribution))
                    self._part.new_window()
            finally:
                self._dealing = False
        return seen

    def taken(self) -> dict[tuple[str, Site], Distribution]:
        """Returns what was seen since the last call, by phase and site."""
        distributions = self._observer.distributions()
        self._observer.new_window()
        return distributions

    def state(self) -> dict[str, Any]:
        """Returns entries of a manifest: the sites, inputs first, and what became of every module."""
        state = self._watcher.state()
        # The sort is stable: all others stay in the order in which they came.
        state["sites"].sort(key=lambda site: not site["name"].startswith(INPUT))
        return state

    def _send(self, batch: Batch, source: str, phase: str) -> None:
        self._phase = phase
        forward(self.model, batch, source)
        self._watcher.stop_following()
        if self._inputs:
            # Only now: what the model does not take is no input of it.
            positional, keyword = batch
            named: dict[str, Any] = {str(place): value for place, value in enumerate(positional)} | keyword
            for name, value in named.items():
                site = INPUT if len(named) == 1 else f"{INPUT}.{name}"
                for suffix, tensor in tensors(self._input, value):
                    self._observe(site + suffix, self._input, tensor)
            self._tick()

    @contextmanager
    def _listening(self) -> Iterator[None]:
        with self._watcher.listening(), self._watcher.hearing():
            yield

    def _take(self, site: str, module: nn.Module, tensor: Tensor, _: object, __: Padding | None) -> None:
        if not self._looking:
            self._observe(site, module, tensor)

    def _observe(self, site: str, module: nn.Module, tensor: Tensor) -> None:
        self._observer.observe(site, module, tensor, self._phase, stepping=False)
        if self._dealing and site not in self._observer.failed:
            # As a probe, which keeps no halves.
            self._part.observe(site, module, tensor, PROBE, stepping=False)

    def _tick(self, _: object = None) -> None:
        if self._looking:
            return
        self._observer.tick(0, stepping=False)
        if self._dealing:
            self._part.tick(0, stepping=False)


def _never(error: Exception) -> None:
    raise AssertionError("a replayer has no mask that could fail") from error


def _reduced(part: Distribution) -> Sample:
    """Returns a part with at most `SAMPLE_QUANTILES` values a unit, of equal weight; a part of fewer keeps its own."""
    if part.values.shape[1] <= SAMPLE_QUANTILES:
        return Sample(part.values, part.sampled)
    values = slice_means(*ordered(*weighted_values(part.values, part.sampled)), SAMPLE_QUANTILES)
    return Sample(values.astype(part.values.dtype), part.sampled)
