"""Which steps are recorded where recording may take only a share of a training's time.

The time that a recorder takes is known (`hooks/stopwatch.py`). Where it is more than the budget, one step in 2, 4, 8 …
is recorded and the others are left out whole: the sampled values of a step stay as many, since blocks of steps are
compared with each other. Which one it is of each stretch is drawn by a generator of its own: at a fixed place, data
that come in turns would be seen in one of their turns alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icshift.hooks.observer import SEED
from icshift.hooks.stopwatch import Stopwatch
from icshift.record.interruption import note_beside
from icshift.runs.format import Window

MOST = 1024
"""The longest stretch of which one step is recorded."""

LOOK = 32
"""Recorded steps after which it is looked whether the budget holds. In as many a block of them is worked off once."""

_LONG = 8
"""Stretches from which it is worth to lift hooks where steps are left out: it takes as long as some calls of them."""

_FIRST = 0.25
"""Seconds that may go into measuring, beforehand, what hooks cost beside the time within them: some ten stretches."""

_CALM = 0.35
"""Stretches become half as long where this part of their length would do, so that they do not grow again at once."""


@dataclass(frozen=True)
class Cost:
    """Seconds: of a step `each` where it is recorded, what is taken a step beside that, and what the training takes.

    `beside` is all that recording takes but for recorded steps, shared out among all: what hooks take where a step is
    left out, evaluations, probes, windows as they are written. `overall` is the share so far: all time spent recording
    over all the rest.
    """

    each: float
    beside: float
    training: float
    overall: float


def stride(now: int, budget: float, cost: Cost) -> int:
    """Returns of how many steps one is to be recorded, where it is one of `now`, so that the budget holds.

    A debt, as the first steps leave it, is paid within about the time that passed so far; what was saved is not spent.
    Where the budget cannot be held, since what is beside recorded steps takes all of it, an eighth goes into these.

    >>> stride(1, 0.03, Cost(each=1e-4, beside=0.0, training=1e-3, overall=0.03))
    4
    >>> stride(8, 0.03, Cost(each=1e-5, beside=0.0, training=1e-3, overall=0.03))
    4
    """
    aim = min(budget, max(2 * budget - cost.overall, budget / 2))
    room = max(aim * cost.training - cost.beside, budget * cost.training / 8)
    needed = min(cost.each / room, MOST)
    if needed > now:
        return int(2 ** math.ceil(math.log2(needed)))
    return now // 2 if now > 1 and needed <= _CALM * now else now


class Thinning:
    """Decides for each step, as the one before ends, whether it is recorded. Without a `budget` every one is.

    >>> every = Thinning(None, Stopwatch())
    >>> every.ended(0)
    >>> every.leaves_out, every.state(), every.left_out(0, 0)
    (False, {}, 0)
    """

    def __init__(self, budget: float | None, stopwatch: Stopwatch) -> None:
        self.leaves_out = False
        """Whether nothing is recorded of the step under way."""
        self.began = False
        """Whether a step was left out at any time."""
        self._budget = budget
        self._stopwatch = stopwatch
        self._random = random.Random(SEED)
        self._stride, self._place, self._passed = 1, 0, 0
        self._strides: list[tuple[int, int]] = []
        self._recorded = bytearray()
        """A byte a step: whether it was recorded."""
        self._beside = self._apart = 0.0
        self._written: object = None
        self._begin(self._stopwatch.now())

    def _begin(self, now: float) -> None:
        self._start = now
        self._before = self._stopwatch.whole
        self._look(now)

    def _look(self, now: float) -> None:
        """Begin to count anew, for the next decision."""
        self._looked, self._taken = now, self._stopwatch.whole
        self._steps = self._counted = self._others = 0
        self._each = self._with_others = 0.0

    def start(self) -> None:
        """The training begins now. Where there is a budget, what an interruption costs is measured first."""
        if self._budget is not None:
            note_beside(self._stopwatch, _FIRST)
        self._begin(self._stopwatch.now())

    def ended(self, written: object) -> None:
        """A step ended. `written` is another than at the last one where what was taken since is not that of a step."""
        if self._budget is None:
            return
        taken = self._stopwatch.whole
        spent, self._before = taken - self._before, taken
        before, self._written = self._written, written
        # The first step is not as the others: all that is kept is made in it.
        if self.leaves_out or not self._recorded:
            self._beside += spent
        elif before != written:
            self._apart += spent
            self._others, self._with_others = self._others + 1, self._with_others + spent
        else:
            self._counted, self._each = self._counted + 1, self._each + spent
        self._recorded.append(not self.leaves_out)
        self._steps += 1
        self._passed += 1
        if self._passed == self._stride:
            self._decide(self._budget)
        self.leaves_out = self._passed != self._place
        self.began |= self.leaves_out

    @property
    def limited(self) -> bool:
        """Whether there is a budget."""
        return self._budget is not None

    @property
    def lasts(self) -> bool:
        """Whether steps that are left out are so many in a row that it is worth to prepare for them."""
        return self.leaves_out and self._stride >= _LONG

    @property
    def left(self) -> int:
        """How many steps are left out for sure, that under way the first, if it is one."""
        until = self._place if self._passed < self._place else self._stride
        return until - self._passed if self.leaves_out else 0

    def passed(self, steps: int) -> None:
        """So many steps ended, all left out, of which nobody said so as they did."""
        if self._budget is None:
            return
        self._recorded.extend(bytes(steps))
        self._steps += steps
        self._passed += steps

    @property
    def steps(self) -> int:
        """How many steps it knows to have ended."""
        return len(self._recorded)

    def go_on_after(self, windows: Sequence[Window], steps: int, past: Mapping[str, Any]) -> None:
        """Go on with a training that has so many steps behind it, in these windows, and this manifest."""
        if self._budget is None:
            return
        self._recorded = bytearray(1 for _ in range(steps))
        gaps = [(gap["first_step"], gap["last_step"]) for gap in past.get("gaps", [])]
        for window in windows:
            missing = sum(max(min(e, window.last_step) - max(b, window.first_step) + 1, 0) for b, e in gaps)
            left_out = max(window.left_out - missing, 0)
            # Which of them it were is not known any more, only how many.
            self._recorded[window.first_step : window.first_step + left_out] = bytes(left_out)
        self._strides = [(one["from_step"], one["stride"]) for one in (past.get("thinned") or {}).get("strides", [])]
        self.began = bool(self._recorded.count(0))
        self._strides += [(steps, 1)] if self._strides else []

    def left_out(self, first: int, last: int) -> int:
        """Returns of how many steps, from the first to the last, nothing was recorded."""
        if self._budget is None:
            return 0
        passed = max(last + 1 - max(first, self.steps), 0)  # Of these nobody said so yet.
        return self._recorded.count(0, max(first, 0), max(last + 1, 0)) + passed

    def state(self, steps: int = 0, gaps: Iterable[tuple[int, int]] = ()) -> dict[str, Any]:
        """Returns the entry of a manifest, so many steps having ended: docs/format.md has its meaning. Empty without a
        budget. Steps in `gaps`, each from a first to a last one, are missing for another reason."""
        if self._budget is None:
            return {}
        strides = [{"from_step": step, "stride": stride} for step, stride in self._strides]
        left_out = self.left_out(0, max(steps, self.steps) - 1) - sum(self.left_out(*gap) for gap in gaps)
        return {"thinned": {"steps_left_out": left_out, "strides": strides}}

    def _decide(self, budget: float) -> None:
        """A stretch is over: choose the length of the next one, and which of its steps is recorded."""
        if self._counted + self._others >= LOOK:
            now = self._stopwatch.now()
            length = stride(self._stride, budget, self._cost(now))
            if length != self._stride:
                self._stride = length
                self._strides.append((len(self._recorded), length))
            self._look(now)
        self._passed, self._place = 0, self._random.randrange(self._stride)

    def _cost(self, now: float) -> Cost:
        taken = self._stopwatch.whole
        whole = max(now - self._start - taken, 1e-9)
        recent = max(now - self._looked - (taken - self._taken), 1e-9)
        if self._counted > LOOK // 4:
            each, beside = self._each / self._counted, self._beside + self._apart
        else:  # Windows of a step or two: writing them is what such a step takes.
            each, beside = (self._each + self._with_others) / (self._counted + self._others), self._beside
        return Cost(each, beside / len(self._recorded), recent / self._steps, taken / whole)
