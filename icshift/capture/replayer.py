"""What the sites of a model that is not training show of given inputs."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from icshift.capture.attachment import Attachment, Listener
from icshift.capture.data import Batch, Data
from icshift.capture.forward import Forward
from icshift.capture.layout import tensors
from icshift.capture.ledger import Coverage
from icshift.capture.links import Links
from icshift.capture.manifest import site_table
from icshift.capture.observer import Observer
from icshift.capture.probe import undisturbed
from icshift.capture.sites import Sites, choose
from icshift.distribution import Distribution
from icshift.errors import ModelError
from icshift.run import Site

INPUT = "(input)"
"""Site of the model's own inputs."""

_SEED = 20150211


class Replayer:
    """Watches one model within its `with` block; what it saw is taken with `taken`.

    With `inputs`, the floating-point arguments of the model are sites too, named after `INPUT`. Raises
    `RecordingError` if no module matches `sites`.
    """

    def __init__(self, model: nn.Module, sites: Sites, samples: float, *, inputs: bool = False) -> None:
        self.model = model
        self._inputs = inputs
        self._phase = ""
        self._forward = Forward()
        self._coverage = Coverage()
        self._links = Links(model)
        self._observer = Observer(sites, samples, _SEED, lambda *_: None)
        listener = Listener(self._saw, self._coverage.gave_none, self._entered, self._left, None)
        self._attachment = Attachment(model, partial(choose, sites=sites), listener)

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

        Phases that begin with `probe` draw the same places every time. The model is left as it was. Raises
        `ModelError` where the model does not take the data.
        """
        self._phase = phase
        self._observer.restart_probe()
        with undisturbed(self.model):
            for module in self.model.modules():
                module.training = batch_statistics and isinstance(module, nn.modules.batchnorm._NormBase)
            for positional, keyword in data.batches:
                # Copies, since a model may begin with an operation in place.
                copies = tuple(map(_copy, positional)), {name: _copy(value) for name, value in keyword.items()}
                self._send(copies, data.source)
        self._observer.follow = None
        self._links.close()

    def taken(self) -> dict[tuple[str, Site], Distribution]:
        """What was seen since the last call, by phase and site."""
        distributions = self._observer.distributions()
        self._observer.new_window()
        return distributions

    def state(self) -> dict[str, Any]:
        """Entries of a manifest: the sites, and what became of every module."""
        seen, watched = self._observer, self._attachment.watched
        return {
            "sites": site_table(seen.sites, self._coverage.owners, watched, self._links),
            "ledger": self._coverage.ledger(self.model, watched, seen.sites, seen.failed, seen.other),
        }

    def _send(self, batch: Batch, source: str) -> None:
        positional, keyword = batch
        if self._inputs:
            named: dict[str, Any] = {str(place): value for place, value in enumerate(positional)} | keyword
            for name, value in named.items():
                site = INPUT if len(named) == 1 else f"{INPUT}.{name}"
                for suffix, tensor in tensors(self.model, value):
                    self._observer.observe(site + suffix, nn.Identity(), tensor, self._phase, stepping=False)
        try:
            self.model(*positional, **keyword)
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(
                f"{type(self.model).__name__} does not take the data of {source}, batches of {_shapes(batch)}: "
                f"{type(error).__name__}: {reason}"
            ) from error

    def _saw(self, name: str, module: nn.Module, suffix: str, tensor: Tensor) -> None:
        site = self._forward.site(name, suffix)
        self._coverage.owners.setdefault(site, name)
        self._observer.observe(site, module, tensor, self._phase, stepping=False)

    def _entered(self, part: nn.Module, _: Tensor | None) -> None:
        self._forward.enter(part, self.model)

    def _left(self, part: nn.Module) -> None:
        if self._forward.leave(part):
            self._observer.tick(0, stepping=False)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _shapes(batch: Batch) -> str:
    positional, keyword = batch
    shown = [_shape(value) for value in positional] + [f"{name}={_shape(value)}" for name, value in keyword.items()]
    return ", ".join(shown)


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
