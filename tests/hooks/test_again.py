"""What came before is taken the short way as long as all that it depends on is as it was, and at no other time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from icshift import kernel_choice
from icshift.hooks.again import Known
from icshift.hooks.attachment import Attachment, Listener
from icshift.hooks.calls import Calls
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.stopwatch import Stopwatch
from icshift.model.sites import Sites
from icshift.model.unheard import unheard
from icshift.record.forwards import TRAINED, Forward
from icshift.runs.interrupts import Guard

pytestmark = pytest.mark.skipif(not kernel_choice.uses_native(), reason="the native kernel is not in use")


class Watched:
    """A layer whose outputs come the long way until they are known."""

    def __init__(self, samples: float = 8) -> None:
        self.layer = nn.Linear(2, 3)
        self.rows: list[Any] = []
        self.observer = Observer(Sites(), samples, SEED, lambda _, __, rows: self.rows.append(rows.steps.tolist()))
        self.calls, self.guard, self.watch = Calls(), Guard(), Stopwatch()
        nothing: Any = lambda *_: None  # noqa: E731
        self.attachment = Attachment(self.layer, lambda *_, **__: {"fc": self.layer}, Listener(*[nothing] * 6))
        self.attachment.attached = True
        self.known = Known(self.calls, self.guard, self.watch)
        self.take = self.known.short_way("fc", self.attachment)
        self.steps = 0

    def begins(self, forward: Forward = TRAINED) -> None:
        """A forward begins."""
        now = self.calls.now
        now.made.clear()
        now.open, now.forward, now.padding = [self.layer], forward, None

    def long(self, tensor: Tensor) -> None:
        """Its output is taken the long way."""
        now = self.calls.now
        now.made["fc"] = 1
        self.observer.observe("fc", self.layer, tensor, now.forward.phase, stepping=True)
        self.known.note("fc", tensor, now, lambda: self.observer.again("fc", tensor, now.forward))

    def steps_on(self) -> None:
        """A step ends."""
        self.observer.tick(self.steps, stepping=True)
        self.steps += 1

    def know(self, *shape: int) -> None:
        """Three steps are taken the long way."""
        for _ in range(3):
            self.begins()
            self.long(self.layer(torch.randn(*shape)))
            self.steps_on()
        self.begins()


def test_the_third_like_two_before_is_taken() -> None:
    watched = Watched()
    watched.know(4, 2)
    tensor = watched.layer(torch.randn(4, 2))
    before = watched.watch.blocks
    assert watched.take((), tensor)
    assert (watched.calls.now.made, watched.watch.blocks - before, watched.observer.step_begun) == ({"fc": 1}, 1, True)
    watched.steps_on()
    (distribution,) = watched.observer.distributions().values()
    assert distribution.count.tolist() == [16, 16, 16]


def _nothing(_: Watched) -> None:
    pass


def _of_another_forward(watched: Watched) -> None:
    watched.calls.now.forward = Forward("train", stepping=True)


def _with_padding(watched: Watched) -> None:
    watched.calls.now.padding = object()  # type: ignore[assignment]


def _outside(watched: Watched) -> None:
    watched.calls.now.open = []


def _called_before(watched: Watched) -> None:
    watched.calls.now.made["fc"] = 1


def _detached(watched: Watched) -> None:
    watched.attachment.attached = False


def _outdated(watched: Watched) -> None:
    watched.attachment._outdate()


def _failed(watched: Watched) -> None:
    watched.observer.failed["fc"] = "it had 3 units"


def _closed(watched: Watched) -> None:
    watched.observer.close()


def _forgotten(watched: Watched) -> None:
    watched.known.forget()


def _awaited(watched: Watched) -> None:
    watched.observer._transfer.queue.append(object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "disturbed",
    [
        *(_of_another_forward, _with_padding, _outside, _called_before, _detached, _outdated, _failed, _closed),
        *(_forgotten, _awaited),
    ],
    ids=lambda disturbed: disturbed.__name__[1:],
)
def test_what_it_depends_on_is_looked_at_each_time(disturbed: Callable[[Watched], None]) -> None:
    watched = Watched()
    watched.know(4, 2)
    tensor = watched.layer(torch.randn(4, 2))
    disturbed(watched)
    made = dict(watched.calls.now.made)
    assert not watched.take((), tensor)
    assert watched.calls.now.made == made


OTHERS = {
    "another shape": lambda t: t[:3],
    "another order": lambda t: t.T.contiguous().T,
    "another type": lambda t: t.double(),
    "a class of its own": lambda t: t.as_subclass(type("Own", (Tensor,), {})),
    "a list": lambda t: [t],
    "no tensor": lambda _: None,
    "a parameter": nn.Parameter,
    "no gradients": lambda t: t.detach(),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_outputs_are_not_taken(other: str) -> None:
    watched = Watched()
    watched.know(4, 2)
    assert not watched.take((), OTHERS[other](watched.layer(torch.randn(4, 2))))
    assert watched.take((), watched.layer(torch.randn(4, 2)))


def test_what_a_mode_sees_a_lock_keeps_or_nobody_hears_is_not_taken() -> None:
    watched = Watched()
    watched.know(4, 2)
    tensor = watched.layer(torch.randn(4, 2))
    with FlopCounterMode(display=False):
        assert not watched.take((), tensor)
    with unheard():
        assert not watched.take((), tensor)
    torch.func.vmap(lambda _: torch.tensor(float(watched.take((), tensor))))(torch.zeros(2))
    assert watched.calls.now.made == {}
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with watched.guard:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    assert not watched.take((), tensor)
    done.set()
    thread.join()
    assert watched.take((), tensor)


def test_an_empty_output_is_known_by_nobody() -> None:
    watched = Watched()
    watched.know(4, 2)
    for _ in range(3):
        watched.begins()
        watched.long(watched.layer(torch.randn(0, 2)))
    assert not watched.take((), watched.layer(torch.randn(0, 2)))


def test_where_shapes_vary_nobody_is_asked() -> None:
    watched, asked = Watched(), []
    for rows in (2, 3, 2, 3):
        watched.begins()
        watched.calls.now.made["fc"] = 1
        watched.known.note("fc", torch.zeros(rows, 3), watched.calls.now, lambda: asked.append(1))  # type: ignore[func-returns-value]
    assert asked == []


def test_places_are_drawn_and_moments_read_as_the_long_way_does() -> None:
    """Of more rows than samples, in steps of one forward and of two, until a block is worked off, and a window ends."""
    short, long = Watched(), Watched()
    torch.manual_seed(1)
    outputs = [short.layer(torch.randn(40, 2)) for _ in range(600)]
    taken = 0
    for step, tensor in enumerate(outputs):
        for watched in (short, long):
            for one in (tensor, -tensor)[: 1 + (step % 50 == 7)]:
                watched.begins()
                if watched is short and watched.take((), one):
                    taken += 1
                else:
                    watched.long(one)
            watched.steps_on()
    assert taken > 500
    for phase_and_site, expected in long.observer.distributions().items():
        found = short.observer.distributions()[phase_and_site]
        for name, value in vars(expected).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)
    assert short.rows == long.rows


def test_what_began_in_float64_goes_on_the_long_way() -> None:
    watched = Watched()
    watched.begins()
    watched.long(watched.layer(torch.randn(4, 2)).double())
    watched.steps_on()
    watched.know(4, 2)
    tensor = watched.layer(torch.randn(4, 2))
    assert not watched.take((), tensor)
    watched.long(tensor)
    watched.steps_on()
    (distribution,) = watched.observer.distributions().values()
    assert distribution.count.tolist() == [20, 20, 20]
