"""Forwards that begin and end as those before: they are counted without all being decided again.

Of a small network, deciding anew for each of them takes longer than all that is recorded of it. What the long way found
out about one is kept, and the native kernel (`kernel/passage.c`), where there is one, sees in a tenth of the time
whether it still holds, and changes what the long way would have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.cuda import is_initialized as is_in_use

from icshift import kernel_choice
from icshift.hooks.attachment import Attachment
from icshift.hooks.calls import Calls
from icshift.hooks.examples import Counts
from icshift.hooks.stopwatch import Stopwatch
from icshift.model.torch_private import like, signs_of_the_ordinary
from icshift.model.unheard import only
from icshift.runs.interrupts import Guard

ShortWays = tuple[Callable[..., bool], Callable[..., bool]]
"""What a hook that is called as a module's call begins asks first, with the arguments, and one as it ends."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """What there is to know of a forward at whose beginning there was nothing to decide.

    The next one is like it as long as `signs` hold, attributes of objects: an object, a name, what that has to be, and
    the next; and while `steady` says that there are such steps to come. `forwards` learn that there was one.
    """

    signs: tuple[Any, ...]
    steady: Any
    forwards: Any
    forward: Any
    counts: Counts


@dataclass(frozen=True, eq=False)
class Passages:
    """The short ways of the hooks by which forwards begin and end; `going_on` counts those that did not end."""

    calls: Calls
    guard: Guard
    stopwatch: Stopwatch
    going_on: Any
    known: dict[nn.Module, tuple[Any, Attachment]]

    def short_ways(self, part: nn.Module, attachment: Attachment) -> ShortWays:
        """Returns both for the hooks of an attachment on this part of the model."""
        if not kernel_choice.uses_native():
            return _never, _never
        guard, watch, calm = self.guard, self.stopwatch, signs_of_the_ordinary(alike=True)[:2]
        ending = attachment, "attached", True, self.going_on, "follows", False
        of = part, self.calls, only, guard.acquire, guard.release, watch, watch.clock, Tensor.data_ptr
        passage = kernel_choice.compiled.Passage(*of, self.going_on, ending, calm)
        self.known[part] = passage, attachment
        return passage.enter, passage.leave

    def forget(self) -> None:
        """Forget all: what it depends on has changed."""
        for passage, _ in self.known.values():
            passage.forget()

    def note(self, part: nn.Module, given: Tensor, beginning: Beginning | None) -> None:
        """Note a forward that began with this part and was given this tensor alone, as the one before."""
        alike = like(given) if beginning is not None and part in self.known and not is_in_use() else None
        if beginning is None or alike is None:
            return
        passage, attachment = self.known[part]
        awake = attachment, "attached", True, attachment, "_stale", False, attachment, "asleep", False
        signs, quiet = (*awake, part, "training", True, *beginning.signs), signs_of_the_ordinary(alike=True)
        counts, at = beginning.counts, beginning.counts.at
        passage.know(
            *(
                alike,
                (*quiet, torch.is_grad_enabled, True),
                signs,
                beginning.steady,
                beginning.forwards,
                beginning.forward,
            ),
            *(counts.examples, counts.phase, counts.seen),
            *(
                (None, None, 0, 0, 1, 0)
                if at is None
                else (at.drawn, at.factors, at.rows, at.row, at.size, len(at.drawn))
            ),
        )


def _never(*_: Any) -> bool:
    return False
