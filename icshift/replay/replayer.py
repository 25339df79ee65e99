"""What the sites of a model that is not training show of given inputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from icshift.distribution import HALF_QUANTILES, Distribution, Half, ordered, slice_means, weighted_values
from icshift.hooks.attachment import Attachment, Listener
from icshift.hooks.calls import Forward
from icshift.hooks.coverage import Coverage
from icshift.hooks.manifest import seen
from icshift.hooks.neighbours import Links
from icshift.hooks.observer import PROBE, Observer
from icshift.inputs.batches import Batch, forward
from icshift.inputs.data import Data
from icshift.model.layout import tensors
from icshift.model.sites import Sites, choose_sites
from icshift.model.undisturbed import undisturbed
from icshift.model.unheard import heard_by
from icshift.runs.format import Site

INPUT = "(input)"
"""Site of the model's own inputs."""

_SEED = 20150211


class Input(nn.Module):
    """Stands for the model's arguments, which no module gives."""


Parts = dict[tuple[str, str], list[Half]]
"""By phase and site's name, what each part of the examples showed."""


class Replayer:
    """Watches one model within its `with` block; what it saw is taken with `taken`.

    With `inputs`, the floating-point arguments of the model are sites too, named after `INPUT`. Raises
    `RecordingError` if no module matches `sites`.
    """

    def __init__(self, model: nn.Module, sites: Sites, samples: float, *, inputs: bool = False) -> None:
        self.model = model
        self._inputs = inputs
        self._input = Input()
        self._phase = ""
        self._forward = Forward()
        self._coverage = Coverage()
        self._links = Links(model)
        self._observer = Observer(sites, samples, _SEED, lambda *_: None)
        self._part = Observer(sites, samples, _SEED, lambda *_: None)
        self._dealing = False
        listener = Listener(self._saw, self._coverage.gave_none, self._observer.fail, self._entered, self._left, None)
        self._attachment = Attachment(model, partial(choose_sites, sites=sites), listener)

    def __enter__(self) -> Self:
        self._links.listen()
        self._observer.follow = self._links.gave
        self._attachment.attach()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._links.close()
        self._attachment.close()

    def replay(self, data: Data, phase: str, *, batch_statistics: bool = False) -> None:
        """Send the data through the model in eval mode, batch normalisation by its batch if `batch_statistics`.

        Phases that begin with `probe` draw the same places every time, and keep paired rows. The model is left as it
        was. Raises `ModelError` where the model does not take the data.
        """
        self._observer.restart_probe(len(data.batches))
        with undisturbed(self.model), heard_by(self._attachment):
            for module in self.model.modules():
                module.training = batch_statistics and isinstance(module, nn.modules.batchnorm._NormBase)
            for batch in data.batches:
                self._send(batch, data.source, phase)
        self._stop_following()

    def replay_in_parts(self, data: Data, phase: str, parts: int, after: Callable[[], None]) -> Parts:
        """The same in eval mode, the examples dealt to parts (fewer where there are not so many), each also on its own.

        What the parts show tells how much the same model shows of other examples. `after` is called after each forward.
        """
        batches = data.parts(parts)
        edges = np.linspace(0, len(batches), min(parts, len(batches)) + 1).round().astype(int)
        found: Parts = {}
        with undisturbed(self.model), heard_by(self._attachment):
            for module in self.model.modules():
                module.training = False
            self._dealing = True
            try:
                for start, stop in pairwise(edges):
                    for batch in batches[start:stop]:
                        self._send(batch, data.source, phase)
                        after()
                    for (_, site), one in self._part.distributions().items():
                        found.setdefault((phase, site.name), []).append(_reduced(one))
                    self._part.new_window()
            finally:
                self._dealing = False
        self._stop_following()
        return found

    def taken(self) -> dict[tuple[str, Site], Distribution]:
        """What was seen since the last call, by phase and site."""
        distributions = self._observer.distributions()
        self._observer.new_window()
        return distributions

    def state(self) -> dict[str, Any]:
        """Entries of a manifest: the sites, inputs first, and what became of every module."""
        state = seen(self.model, self._observer, self._coverage, self._attachment.watched, self._links)
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

    def _saw(self, name: str, module: nn.Module, suffix: str, tensor: Tensor) -> None:
        site = self._forward.site(name, suffix)
        self._coverage.owners.setdefault(site, name)
        self._observe(site, module, tensor)

    def _observe(self, site: str, module: nn.Module, tensor: Tensor) -> None:
        self._observer.observe(site, module, tensor, self._phase, stepping=False)
        if self._dealing and site not in self._observer.failed:
            # As a probe, which keeps no halves.
            self._part.observe(site, module, tensor, PROBE, stepping=False)

    def _entered(self, part: nn.Module, _: Tensor | None) -> None:
        self._forward.enter(part, self.model)

    def _left(self, part: nn.Module) -> None:
        if self._forward.leave(part):
            self._tick()

    def _tick(self) -> None:
        self._observer.tick(0, stepping=False)
        if self._dealing:
            self._part.tick(0, stepping=False)

    def _stop_following(self) -> None:
        self._observer.follow = None
        self._links.close()


def _reduced(part: Distribution) -> Half:
    """Few values of equal weight; a part of few examples keeps them all."""
    if part.values.shape[1] <= HALF_QUANTILES:
        return Half(part.values, part.sampled)
    values = slice_means(*ordered(*weighted_values(part.values, part.sampled)), HALF_QUANTILES)
    return Half(values.astype(part.values.dtype), part.sampled)
