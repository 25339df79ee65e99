"""Hooks on a model that listen within a block, and what they learn: what a recorder and a replayer have in common.

A watcher puts the hooks on, gives every tensor that a chosen module returned the name of its site, and hands it to its
keeper. Beside that it learns what reads which site's output (in the first forward with gradients) and what became of
every module. What icshift itself runs through the model is heard only where `hearing` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.hooks import manifest
from icshift.hooks.again import Known, Place
from icshift.hooks.attachment import Attachment, Listener
from icshift.hooks.calls import Call, Calls, computed_again, outermost_called
from icshift.hooks.coverage import Coverage
from icshift.hooks.neighbours import Neighbours
from icshift.hooks.observer import Observer
from icshift.hooks.padding import Padding, padding
from icshift.hooks.passage import Beginning, Passages
from icshift.hooks.stopwatch import Stopwatch
from icshift.hooks.unmasked import Unmasked
from icshift.model.copies import copies, is_within
from icshift.model.names import modules
from icshift.model.parameters import has_gradients
from icshift.model.sites import Sites, called_around, choose_sites
from icshift.model.torch_private import in_backward, is_ordinary
from icshift.model.unheard import heard_by
from icshift.runs.interrupts import Guard


@dataclass(frozen=True)
class Keeper:
    """Functions that keep what a watcher sees. None of them may raise: they run within the user's forwards.

    `began(call)` gets the call that begins a forward, or that of a chosen module outside of any, and returns what it
    calls this forward; `take(site, module, tensor, forward, padding)` gets every tensor that a chosen module returned,
    under the name of its site; `ended(forward)` is called when a forward ends, and after a chosen module that was
    called outside of any; `leaves_out(forward)` says, as a forward began, that nothing of it is taken;
    `again(site, tensor, forward)` returns where the next tensor like one that was just taken goes, if it may go there
    by a shorter way; `began_again(part, tensor)` is `began` for a forward in training mode with gradients whose only
    argument is a tensor: it returns what it calls it where it is like one before and nothing need be done at its end,
    else None; it is asked where `goes_on()` says that the next one may be like that, and `begins_again(tensor)` then
    what there is to know of it; `passes()` says, while the hooks are asleep, that a forward in training with gradients
    is nothing to wake up for; `broke(error)` gets a `RecordingError` when the mask cannot be used.
    """

    take: Callable[[str, nn.Module, Tensor, Any, Padding | None], None]
    ended: Callable[[Any], None]
    broke: Callable[[Exception], None]
    began: Callable[[Call], Any] = lambda _: None
    leaves_out: Callable[[Any], bool] = lambda _: False
    again: Callable[[str, Tensor, Any], Place | None] = lambda *_: None
    began_again: Callable[[nn.Module, Tensor], Any] = lambda *_: None
    goes_on: Callable[[], bool] = lambda: False
    begins_again: Callable[[Tensor], Beginning | None] = lambda _: None
    passes: Callable[[], bool] = lambda: False


class Watcher:
    """The hooks of one recorder or replayer on one model; it hears forwards within `listening` alone.

    `observer` keeps the distributions: the watcher tells it of outputs that cannot be looked through, and takes from it
    what `state` returns. `mask` is called with the arguments of the model (see `fitted`) and returns a boolean tensor,
    true where positions are padding. `guard` lets one thread at a time do its work and holds Ctrl-C back meanwhile;
    `stopwatch` measures how many seconds that work takes.

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
        self._sites = sites
        self._observer = observer
        self._keeper = keeper
        self._calls = Calls(sites.max_calls)
        self._coverage = Coverage()
        self._neighbours = Neighbours(model)
        self._known = Known(self._calls, self.guard, self.stopwatch)
        self._passages = Passages(self._calls, self.guard, self.stopwatch, self, {})
        self._going_on = 0
        """Forwards, of all threads, that began and did not end."""
        self.follows = False
        """Whether it is learnt what reads which site's output."""
        self._state: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        """What `state` returned last of sites and modules, and the signs of what it was made from: of a model of ten
        thousand modules it takes most of a second."""
        self._unmasked = Unmasked(model) if mask is None else None
        self._may_hide = self._unmasked is None or self._unmasked.first_hides
        listener = Listener(
            self._saw,
            self._coverage.note_no_tensor,
            observer.fail,
            self._entered,
            self._left,
            mask,
            self.stopwatch,
            lambda name: self._known.short_way(name, self.attachment),
            lambda part: self._passages.short_ways(part, self.attachment),
            self._entered_again,
            self._left_again,
            keeper.passes,
        )
        self.attachment = Attachment(model, self._choose, listener)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A block within which the hooks are on the model. Compiled models keep theirs afterwards: they do nothing."""
        with ExitStack() as off:
            self.follows |= not self._observer.sites
            if self.follows:
                self._neighbours.listen()
            off.callback(self.stop)
            self._going_on = 0
            self.attachment.attach()
            yield

    def hearing(self) -> AbstractContextManager[None]:
        """A block within which this watcher, and no other, hears what icshift runs through the model."""
        return heard_by(self.attachment)

    def follow(self, model: nn.Module) -> None:
        """Listen to another model of the same modules from now on, in place of the one before."""
        self._neighbours.follow(model)
        self._known.forget()
        self._passages.forget()
        self._model = model
        self.attachment.follow(model)

    def stop(self) -> None:
        """Take the hooks off before the block of `listening` ends: something failed, and nothing more is recorded."""
        self._neighbours.close()
        self.attachment.detach()

    def close(self) -> None:
        """Take the hooks off for good, those of compiled models too."""
        self.attachment.close()
        self._observer.close()
        self.stopwatch.stop()

    def leave_copies_out(self, trained: Callable[[nn.Parameter], bool]) -> None:
        """Watch no part that is a copy of another, unless it was chosen; of both the original alone is `trained`."""
        if self._sites.select is None:
            self._leave_out(self.attachment.left_out | copies(self._model, trained))

    def look_at_gradients(self, trained: Iterable[str] | None, *, first: bool) -> None:
        """Learn from the gradients that exist after a step, the `first` or a later one.

        A part without any may be a copy; what was taken for one and has some is watched again. Chosen modules that have
        some although none of the sites `trained` is theirs were bypassed (where that is not None: not known), and what
        is around them is watched from now on.
        """
        if trained is not None:
            self._coverage.note_gradients(self.attachment.watched, trained)
            self._watch_around(self._coverage.never_called())
        if first:
            self.leave_copies_out(lambda parameter: parameter.grad is not None)
        there, left_out = modules(self._model), self.attachment.left_out
        self._leave_out({n: of for n, of in left_out.items() if n in there and not has_gradients(there[n])})

    def _choose(self, model: nn.Module, least: int = 1) -> dict[str, nn.Module]:
        """The modules to watch: those that are chosen, and those around what was bypassed."""
        chosen = choose_sites(model, self._sites, least=least).keys() | self._coverage.around
        return {name: module for name, module in modules(model).items() if name in chosen}

    def _watch_around(self, bypassed: Iterable[str]) -> None:
        """Watch, unless sites were chosen, what uses the weights of these modules without calling them.

        So torchvision's windowed attention hands the weights of its parts to a function; its own output is seen.
        """
        found = called_around(self._model, bypassed) - self.attachment.watched.keys()
        if self._sites.select is not None or not found:
            return
        self._coverage.around |= found
        self.attachment.choose_again()
        self.follows = True
        self._known.forget()
        self._neighbours.listen()

    def _leave_out(self, parts: dict[str, str]) -> None:
        self.attachment.leave_out(parts)
        for site, name in list(self._coverage.owners.items()):
            if is_within(name, parts):
                self._observer.forget(site)
                del self._coverage.owners[site]

    def stop_following(self) -> None:
        """Learn no more about what reads which site's output."""
        if self.follows:
            self.follows = False
            self._neighbours.rest()

    def state(self) -> dict[str, Any]:
        """Entries of a manifest: the sites seen so far, and what became of every module."""
        signs = (*self._observer.signs(), *self._coverage.signs(), self._neighbours.signs(), self.attachment.choices)
        if self._state is None or self._state[0] != signs:
            seen = manifest.seen(self._model, self._observer, self._coverage, self.attachment, self._neighbours)
            self._state = signs, seen
        return self._state[1] | {"unmasked": {} if self._unmasked is None else self._unmasked.found()}

    def _saw(self, name: str, module: nn.Module, gradients: bool, suffix: str, tensor: Tensor) -> None:
        """A module returned this tensor: name its site and hand it to the keeper."""
        if in_backward():
            return  # A checkpointed part is computed again within the backward pass: it was seen already.
        if self.attachment.rest.on:
            return  # Of a compiled graph, which does not know of it.
        with self.guard, self.stopwatch:
            self.attachment.refresh()
            if not self._calls.inside:
                self._calls.now.forward = self._keeper.began(_told(Call(self._outermost(module), None, gradients)))
            site = self._calls.site(name, suffix)
            self._coverage.owners.setdefault(site, name)
            self._keeper.take(site, module, tensor, self._calls.now.forward, self._calls.now.padding)
            if self.follows:
                self._neighbours.note_output(site, tensor, within_forward=self._calls.inside)
            now = self._calls.now
            if not now.open:
                self._keeper.ended(now.forward)
            elif site == name and not self.follows:
                self._known.note(name, tensor, now, lambda: self._keeper.again(site, tensor, now.forward))

    def _entered_again(self, part: nn.Module, given: Tensor) -> bool:
        """A part of the model is called with this tensor: begin a forward the short way, if it is as one before."""
        now = self._calls.now
        if now.open or not self._keeper.goes_on() or self._may_hide:
            return False
        if not part.training or not torch.is_grad_enabled() or not is_ordinary():
            return False
        with self.guard, self.stopwatch:
            forward = self._keeper.began_again(part, given)
            if forward is None:
                return False
            now.made.clear()
            now.open.append(part)
            now.padding, now.forward, now.known = None, forward, True
            self._going_on += 1
            self._passages.note(part, given, self._keeper.begins_again(given))
        return True

    def _left_again(self, part: nn.Module) -> bool:
        """The call of a part ends: end the forward the short way, if it began so."""
        now = self._calls.now
        if not now.known or len(now.open) != 1 or now.open[0] is not part or self.follows or in_backward():
            return False
        with self.guard, self.stopwatch:
            now.open.clear()
            self._going_on = max(self._going_on - 1, 0)
        return True

    def sleep(self) -> None:
        """Lift hooks until something is to be seen, unless a forward goes on in any thread."""
        if not self._going_on:
            self.attachment.sleep()

    def _outermost(self, module: nn.Module) -> nn.Module:
        """The part of the model whose call this module is called in, outside of any forward that was entered.

        From its next call on that part begins forwards too: hooks on all parts of all parts would cost too much.
        """
        part = outermost_called(self.attachment.modules) or module
        if part is not module:
            self.attachment.begin_with(part)
        return part

    def _entered(self, call: Call, mask: Any) -> None:
        if in_backward():
            return
        self.attachment.refresh()
        self._calls.enter(call.part, self._model)
        if self._calls.beginning:
            with self.guard, self.stopwatch:
                self._going_on += 1
                self._calls.now.forward = self._keeper.began(_told(call))
                self.attachment.rest.on = self._keeper.leaves_out(self._calls.now.forward)
                if self.attachment.rest.on:
                    return
                if self._unmasked is not None and call.part is self._model and call.inputs is not None:
                    self._unmasked.note(call.inputs)
        if mask is not None:
            try:
                self._calls.now.padding = padding(mask)
            except Exception as error:  # noqa: BLE001  It must not reach the training.
                self._keeper.broke(RecordingError(f"the mask cannot be used: {error}"))

    def _left(self, part: nn.Module, output: Any) -> None:
        if in_backward() or not self._calls.leave(part):
            return
        rest = self.attachment.rest
        self.stopwatch.touches += rest.passed_by
        rest.on, rest.passed_by = False, 0
        with self.guard, self.stopwatch:
            self._going_on = max(self._going_on - 1, 0)
            if self.follows and self._neighbours.forward_ended(output, of_model=part is self._model):
                self.stop_following()
            self._keeper.ended(self._calls.now.forward)


def _told(call: Call) -> Call:
    """The same call, with gradients where they are off and computed all the same."""
    return call if call.gradients or not computed_again() else replace(call, gradients=True)
