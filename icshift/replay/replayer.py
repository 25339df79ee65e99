"""What the sites of a model that is not training show of given inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from icshift.distribution import HALF_QUANTILES, Distribution, Half, ordered, slice_means, weighted_values
from icshift.errors import ModelError
from icshift.hooks.batch_norm import evaluating_as_trained
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.padding import Padding
from icshift.hooks.watcher import Keeper, Watcher
from icshift.inputs.batches import Batch, forward
from icshift.inputs.data import Data
from icshift.model.layout import tensors
from icshift.model.modes import Statistics, evaluating
from icshift.model.sites import Sites
from icshift.runs.format import Site
from icshift.runs.phases import PROBE

INPUT = "(input)"
"""Site of the model's own inputs."""


class Input(nn.Module):
    """Stands for the model's arguments, which no module gives."""


Parts = dict[tuple[str, str], list[Half]]
"""By phase and site's name, what each part of the examples showed."""


class Replayer:
    """Sends inputs through a model at rest and keeps what every site shows; it listens only while it sends.

    What it kept is handed out by `taken`. With `inputs`, the floating-point arguments of the model are sites too, named
    after `INPUT`. Leaving its `with` block takes the last hooks off. Raises `RecordingError` if no module matches
    `sites`.
    """

    def __init__(self, model: nn.Module, sites: Sites, samples: float, *, inputs: bool = False) -> None:
        self.model = model
        self._inputs = inputs
        self._input = Input()
        self._phase = ""
        self._observer = Observer(sites, samples, SEED, lambda *_: None)
        self._part = Observer(sites, samples, SEED, lambda *_: None)
        self._dealing = False
        keeper = Keeper(self._take, self._tick, _never)
        self._watcher = Watcher(model, sites, self._observer, keeper)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watcher.close()

    def replay(self, data: Data, phase: str, statistics: Statistics = "running") -> None:
        """Send the data through the model in eval mode, batch norm by its running or by the batch's `statistics`.

        Phases of a probe draw the same places every time, and keep the activations of the same examples. The model is
        left as it was. Raises `ModelError` where the model does not take the data.
        """
        self._observer.restart_probe(len(data.batches))
        with evaluating(self.model, statistics), self._listening():
            for batch in data.batches:
                self._send(batch, data.source, phase)

    def replay_as_trained(self, data: Data, phase: str) -> None:
        """The same with layers that keep running averages normalising as in training: `evaluating_as_trained`.

        Statistics are of the examples that are finite. Raises `ModelError` too where these are too few.
        """

        def send(after: Callable[[], None]) -> None:
            if not (batches := data.finite().batches):
                raise ModelError(f"{data.source} holds no example that is finite")
            for batch in batches:
                forward(self.model, batch, data.source)
                after()

        self._observer.restart_probe(len(data.batches))
        with evaluating_as_trained(self.model, send), self._listening():
            for batch in data.batches:
                self._send(batch, data.source, phase)

    def replay_in_parts(self, data: Data, phase: str, parts: int, after: Callable[[], None]) -> Parts:
        """The same in eval mode, the examples dealt to parts (fewer where there are not so many), each also on its own.

        What the parts show tells how much the same model shows of other examples. `after` is called after each forward.
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
        """What was seen since the last call, by phase and site."""
        distributions = self._observer.distributions()
        self._observer.new_window()
        return distributions

    def state(self) -> dict[str, Any]:
        """Entries of a manifest: the sites, inputs first, and what became of every module."""
        state = self._watcher.state()
        # The sort is stable: all others stay in the order in which they came.
        state["sites"].sort(key=lambda site: not site["name"].startswith(INPUT))
        return state

    def _send(self, batch: Batch, source: str, phase: str) -> None:
        self._phase = phase
        forward(self.model, batch, source)
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

    def _take(self, site: str, module: nn.Module, tensor: Tensor, _: Padding | None) -> None:
        self._observe(site, module, tensor)

    def _observe(self, site: str, module: nn.Module, tensor: Tensor) -> None:
        self._observer.observe(site, module, tensor, self._phase, stepping=False)
        if self._dealing and site not in self._observer.failed:
            # As a probe, which keeps no halves.
            self._part.observe(site, module, tensor, PROBE, stepping=False)

    def _tick(self) -> None:
        self._observer.tick(0, stepping=False)
        if self._dealing:
            self._part.tick(0, stepping=False)


def _never(error: Exception) -> None:
    raise AssertionError("a replayer has no mask that could fail") from error


def _reduced(part: Distribution) -> Half:
    """Few values of equal weight; a part of few examples keeps them all."""
    if part.values.shape[1] <= HALF_QUANTILES:
        return Half(part.values, part.sampled)
    values = slice_means(*ordered(*weighted_values(part.values, part.sampled)), HALF_QUANTILES)
    return Half(values.astype(part.values.dtype), part.sampled)
