"""The budget of a recording, as a function of what was measured: no test here is timed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from icshift.hooks.stopwatch import Stopwatch, Timeline
from icshift.record.thinning import LOOK, MOST, Cost, Thinning, stride


class Simulated:
    """A training of 1 ms a step that is recorded at the cost that is said, by a clock that stands otherwise."""

    def __init__(self, budget: float | None, *, each: float, left_out: float = 0.0, window: float = 0.0) -> None:
        self.time = 0.0
        self.watch = Stopwatch(Timeline(lambda: self.time))
        self.thinning = Thinning(budget, self.watch)
        self.each, self.left_out, self.window = each, left_out, window
        self.recorded: list[int] = []
        self.steps = 0

    def _record(self, seconds: float) -> None:
        with self.watch:
            self.time += seconds

    def train(self, steps: int, change: Callable[[int], float] = lambda _: 1.0) -> None:
        for _ in range(steps):
            self.time += 1e-3
            if self.thinning.leaves_out:
                self._record(self.left_out)
            else:
                self.recorded.append(self.steps)
                self._record(self.each * change(self.steps))
            self.thinning.ended(self.steps // 200)
            self.steps += 1
            if self.steps % 200 == 0:
                self._record(self.window)

    @property
    def share(self) -> float:
        return self.watch.seconds / (self.time - self.watch.seconds)

    @property
    def strides(self) -> list[int]:
        return [one["stride"] for one in self.thinning.state()["thinned"]["strides"]]


@pytest.mark.parametrize(
    ("each", "left_out", "window"),
    [(1e-5, 0.0, 0.0), (1e-4, 1e-5, 0.0), (1e-3, 1e-5, 1e-3), (7e-4, 5e-6, 2e-3), (5e-3, 0.0, 0.0)],
)
def test_the_share_is_held_over_two_thousand_steps(each: float, left_out: float, window: float) -> None:
    simulated = Simulated(0.03, each=each, left_out=left_out, window=window)
    simulated.train(2000)
    assert simulated.share <= 0.035 or each > 1e-3  # The first steps alone may take more: they are paid for later.
    simulated.train(8000)
    assert simulated.share <= 0.033


def test_nothing_is_left_out_where_recording_is_cheap_enough() -> None:
    simulated = Simulated(0.03, each=2e-5)
    simulated.train(1000)
    assert simulated.recorded == list(range(1000))
    assert simulated.thinning.state() == {"thinned": {"steps_left_out": 0, "strides": []}}


def test_without_a_budget_every_step_is_recorded_and_nothing_is_told() -> None:
    simulated = Simulated(None, each=1.0)
    simulated.train(200)
    assert simulated.recorded == list(range(200))
    assert (simulated.thinning.state(), simulated.thinning.left_out(0, 199)) == ({}, 0)


def test_one_step_of_every_stretch_is_recorded_at_no_fixed_place() -> None:
    simulated = Simulated(0.03, each=1e-4)
    simulated.train(3000)
    entry = simulated.thinning.state()["thinned"]
    last = entry["strides"][-1]
    begun, length = last["from_step"], last["stride"]
    assert length > 1
    places = [(step - begun) % length for step in simulated.recorded if step >= begun]
    stretches = [(step - begun) // length for step in simulated.recorded if step >= begun]
    assert stretches == list(range(len(stretches)))
    assert set(places) == set(range(length))
    assert entry["steps_left_out"] == 3000 - len(simulated.recorded) == simulated.thinning.left_out(0, 2999)
    assert simulated.thinning.left_out(begun, begun + length - 1) == length - 1


def test_stretches_grow_at_once_and_shrink_again_as_recording_costs_less() -> None:
    simulated = Simulated(0.03, each=1e-4)
    simulated.train(20_000, lambda step: 3.0 if step < 1000 else 1.0)
    strides = simulated.strides
    assert max(strides) > strides[-1]
    assert strides[-1] <= 8
    assert len(strides) < 12


def test_a_budget_that_cannot_be_held_still_lets_steps_be_recorded() -> None:
    simulated = Simulated(0.03, each=1e-4, left_out=1e-4)
    simulated.train(4000)
    assert simulated.share > 0.09
    assert len(simulated.recorded) > 4000 / 64


def test_windows_of_a_step_are_what_such_a_step_takes() -> None:
    simulated = Simulated(0.03, each=1e-4)
    for number in range(10 * LOOK):
        simulated.time += 1e-3
        with simulated.watch:
            simulated.time += 0.0 if simulated.thinning.leaves_out else 1e-4
        simulated.thinning.ended(number)  # Something was written since the step before.
    assert simulated.strides[0] in (8, 16)  # And not the longest of all.


@pytest.mark.parametrize("now", [1, 2, 64, MOST])
def test_a_stride_is_a_power_of_two_up_to_the_most(now: int) -> None:
    found = [stride(now, 0.03, Cost(each, 1e-6, 1e-3, 0.03)) for each in (0.0, 1e-7, 1e-5, 1e-3, 1.0, 1e3)]
    assert found == sorted(found)
    assert all(1 <= length <= MOST and length & (length - 1) == 0 for length in found)
