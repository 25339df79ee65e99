"""What a recorder says that it takes, against what it does take, by a clock that counts calls of functions.

Such a clock shows the same on every machine, however busy. What a processor does beside, as filling its caches anew, it
does not see.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo import convert_frame

import icshift
from icshift.hooks.stopwatch import apart
from icshift.record import interruption, thinning

STEPS = 192


class Calls:
    """Counts all calls of functions, of Python and of C, within its block."""

    number = 0

    def __call__(self) -> float:
        return self.number

    def __enter__(self) -> Calls:
        self._before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _note(self, _: Any, event: str, __: Any) -> None:
        self.number += event in ("call", "c_call")


@pytest.mark.some(2)
@pytest.mark.parametrize("longest", [1, 2, 4, 16, 64])
def test_what_is_told_is_not_less_than_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    calls = Calls()
    monkeypatch.setattr(interruption, "_costs", None)
    monkeypatch.setattr(interruption, "clock", calls)
    monkeypatch.setattr(convert_frame, "FRAME_COUNTER", 0)  # Another test may have compiled something.
    monkeypatch.setattr(thinning, "MOST", longest)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def train() -> float:
        before = calls()
        for _ in range(STEPS):
            model(torch.ones(8, 3)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return calls() - before

    with calls:
        train()
        plain = train()
        with apart(calls):
            recorder = icshift.Recorder(model, tmp_path / "run", optimizer=optimizer, overhead=1e-9)
            with recorder:
                train()
                before = recorder.stopwatch.whole
                took = train() - plain
                told = recorder.stopwatch.whole - before
    assert 0.9 * took <= told <= 2 * took
