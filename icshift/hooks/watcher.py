"""Hooks on a model that listen within a block, and what they learn: what a recorder and a replayer have in common.

A watcher puts the hooks on, gives every tensor that a chosen module returned the name of its site, and hands it to its
keeper. Beside that it learns what reads which site's output (in the first forward with gradients) and what became of
every module. What icshift itself runs through the model is heard only where `hearing` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.hooks import manifest
from icshift.hooks.attachment import Attachment, Listener
from icshift.hooks.calls import Calls
from icshift.hooks.coverage import Coverage
from icshift.hooks.examples import Inputs
from icshift.hooks.neighbours import Neighbours
from icshift.hooks.observer import Observer
from icshift.hooks.padding import Padding, padding
from icshift.hooks.stopwatch import Stopwatch
from icshift.model.sites import Sites, choose_sites
from icshift.model.unheard import heard_by
from icshift.runs.interrupts import Guard

_backward: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)
"""The backward pass that this thread is in, or -1."""


@dataclass(frozen=True)
class Keeper:
    """Functions that keep what a watcher sees. None of them may raise: they run within the user's forwards.

    `take(site, module, tensor, padding)` gets every tensor that a chosen module returned, under the name of its site;
    `ended()` is called when a forward of the model ends, and after a chosen module that was called outside of any;
    `broke(error)` gets a `RecordingError` when the mask cannot be used; `began(part, inputs)` gets the part of the
    model whose call begins a forward, None for a chosen module that is called outside of any, and its arguments, None
    where they were not seen.
    """

    take: Callable[[str, nn.Module, Tensor, Padding | None], None]
    ended: Callable[[], None]
    broke: Callable[[Exception], None]
    began: Callable[[nn.Module | None, Inputs | None], None] = lambda *_: None


class Watcher:
    """The hooks of one recorder or replayer on one model; it hears forwards within `listening` alone.

    `observer` keeps the distributions: the watcher tells it of outputs that cannot be looked through, and takes from it
    what `state` returns. `mask` is called with the arguments of the model and returns a boolean tensor, true where
    positions are padding. `guard` lets one thread at a time do its work and holds Ctrl-C back meanwhile; `stopwatch`
    measures how many seconds that work takes.

    Raises `RecordingError` if no module of the model matches `sites`.
    """

    def __init__(
        self,
        model: nn.Module,
        sites: Sites,
        observer: Observer,
        keeper: Keeper,
        mask: Callable[..., Tensor] | None = None,
    ) -> None:
        self.guard = Guard()
        self.stopwatch = Stopwatch()
        self._model = model
        self._observer = observer
        self._keeper = keeper
        self._calls = Calls()
        self._coverage = Coverage()
        self._neighbours = Neighbours(model)
        self._follows = False
        listener = Listener(self._saw, self._coverage.note_no_tensor, observer.fail, self._entered, self._left, mask)
        self.attachment = Attachment(model, partial(choose_sites, sites=sites), listener)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A block within which the hooks are on the model. Compiled models keep theirs afterwards: they do nothing."""
        with ExitStack() as off:
            self._follows |= not self._observer.sites
            if self._follows:
                self._neighbours.listen()
            off.callback(self.stop)
            self.attachment.attach()
            yield

    def hearing(self) -> AbstractContextManager[None]:
        """A block within which this watcher, and no other, hears what icshift runs through the model."""
        return heard_by(self.attachment)

    def stop(self) -> None:
        """Take the hooks off before the block of `listening` ends: something failed, and nothing more is recorded."""
        self._neighbours.close()
        self.attachment.detach()

    def close(self) -> None:
        """Take the hooks off for good, those of compiled models too."""
        self.attachment.close()
        self._observer.close()

    def notice_bypassed(self) -> None:
        """Note which chosen modules have gradients although they were never called, while these gradients exist."""
        self._coverage.note_gradients(self.attachment.watched)

    def stop_following(self) -> None:
        """Learn no more about what reads which site's output."""
        if self._follows:
            self._follows = False
            self._neighbours.rest()

    def state(self) -> dict[str, Any]:
        """Entries of a manifest: the sites seen so far, and what became of every module."""
        return manifest.seen(self._model, self._observer, self._coverage, self.attachment.watched, self._neighbours)

    def _saw(self, name: str, module: nn.Module, suffix: str, tensor: Tensor) -> None:
        """A module returned this tensor: name its site and hand it to the keeper."""
        if _backward() != -1:
            return  # A checkpointed part is computed again within the backward pass: it was seen already.
        with self.guard, self.stopwatch:
            self.attachment.refresh()
            if not self._calls.inside:
                self._keeper.began(None, None)
            site = self._calls.site(name, suffix)
            self._coverage.owners.setdefault(site, name)
            self._keeper.take(site, module, tensor, self._calls.padding)
            if self._follows:
                self._neighbours.note_output(site, tensor, within_forward=self._calls.inside)
            if not self._calls.inside:
                self._keeper.ended()

    def _entered(self, part: nn.Module, mask: Any, inputs: Inputs | None) -> None:
        if _backward() != -1:
            return
        self.attachment.refresh()
        self._calls.enter(part, self._model)
        if self._calls.beginning:
            with self.guard, self.stopwatch:
                self._keeper.began(part, inputs)
        if mask is not None:
            try:
                self._calls.padding = padding(mask)
            except Exception as error:  # noqa: BLE001  It must not reach the training.
                self._keeper.broke(RecordingError(f"the mask cannot be used: {error}"))

    def _left(self, part: nn.Module, output: Any) -> None:
        if _backward() != -1 or not self._calls.leave(part):
            return
        with self.guard, self.stopwatch:
            if self._follows and self._neighbours.forward_ended(output, of_model=part is self._model):
                self.stop_following()
            self._keeper.ended()
