"""Steps that are as those before are recorded the short way: a run is the same where each goes the long one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import icshift
from icshift.blocks import Blocks
from icshift.hooks.again import Known
from icshift.record import steady
from icshift.record.recorder import Recorder

STEPS = 80


def _training(path: Path, disturbed: Callable[..., None], **options: Any) -> tuple[list[torch.Tensor], int]:
    """Parameters after a training in which something happens before some steps, and how many steps ended shortly."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = torch.randn(4 * STEPS, 70, 5)
    shortly = 0
    with Recorder(model, path, optimizer=optimizer, samples=64, **options) as recorder:
        for step in range(STEPS):
            disturbed(step, recorder, model, optimizer, x[STEPS + step])
            batch = x[step] if step % 2 else x[step][:30]
            model(batch if step < STEPS // 2 else x[step]).square().mean().backward()
            before = recorder._going_on
            optimizer.step()
            shortly += recorder._going_on < before
            optimizer.zero_grad()
    return [value.clone() for value in model.state_dict().values()], shortly


def _nothing(*_: Any) -> None:
    pass


def _evaluates(step: int, _: Recorder, model: nn.Module, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        model.eval()
        with torch.no_grad():
            model(x)
        model.train()


def _acts(step: int, _: Recorder, model: nn.Module, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        with torch.no_grad():
            model(x)


def _labels(step: int, recorder: Recorder, model: nn.Module, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        with recorder.phase("other"):
            model(x)


def _ends_windows(step: int, recorder: Recorder, _: nn.Module, __: Any, ___: torch.Tensor) -> None:
    if step % 23 == 22:
        recorder.epoch()


def _begins_windows(step: int, recorder: Recorder, _: nn.Module, __: Any, ___: torch.Tensor) -> None:
    if step % 23 == 22:
        recorder.epoch_begins()


def _changes_windows(step: int, recorder: Recorder, _: nn.Module, __: Any, ___: torch.Tensor) -> None:
    if step == STEPS // 2:
        recorder.window = 11


def _pauses(step: int, recorder: Recorder, model: nn.Module, _: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        with recorder.paused():
            model(x)


def _calls_twice(step: int, _: Recorder, model: nn.Module, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        model(x[:7]).sum().backward()


def _calls_a_part(step: int, _: Recorder, model: Any, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        model[2](model[0](x)).sum().backward()


def _steps_twice(step: int, _: Recorder, __: nn.Module, optimizer: Any, ___: torch.Tensor) -> None:
    if step % 9 == 4:
        optimizer.step()


def _grows(step: int, _: Recorder, model: Any, __: Any, ___: torch.Tensor) -> None:
    if step == STEPS // 2:
        model[3] = nn.Sequential(nn.Linear(4, 4), nn.Tanh())


def _raises(step: int, _: Recorder, model: nn.Module, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        with pytest.raises(RuntimeError):
            model(x[:, :3])


def _under_a_mode(step: int, _: Recorder, model: nn.Module, __: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        with FlopCounterMode(display=False):
            model(x).sum().backward()


def _without_forward(step: int, _: Recorder, model: Any, optimizer: Any, x: torch.Tensor) -> None:
    if step % 9 == 4:
        nn.functional.linear(x, model[0].weight).sum().backward()
        optimizer.step()


DISTURBANCES = (
    *(_nothing, _evaluates, _acts, _labels, _ends_windows, _begins_windows, _changes_windows, _pauses, _calls_twice),
    *(_calls_a_part, _steps_twice, _grows, _raises, _under_a_mode, _without_forward),
)


@pytest.mark.covering(1)
@pytest.mark.parametrize("window", [10, "auto", None])
@pytest.mark.parametrize("disturbed", DISTURBANCES, ids=lambda disturbed: disturbed.__name__[1:])
def test_a_run_is_what_it_is_the_long_way(
    disturbed: Callable[..., None], window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, shortly = _training(tmp_path / "short", disturbed, window=window)
    monkeypatch.setattr(steady, "_MOST", 1)
    monkeypatch.setattr(Known, "note", lambda *_: None)  # So that no tensor is taken the short way either.
    expected, none = _training(tmp_path / "long", disturbed, window=window)
    assert (shortly > 0 or disturbed is _without_forward, none) == (True, 0)
    assert all(map(torch.equal, trained, expected))
    short, long = icshift.open(tmp_path / "short"), icshift.open(tmp_path / "long")
    assert short.window_list == long.window_list
    assert short.steps("train").equals(long.steps("train"))
    for there in short.window_list:
        for phase in short.phases:
            for site in short.sites:
                _same(*(run.distribution(phase, site.name, there.index) for run in (short, long)))


def _same(found: Any, expected: Any) -> None:
    assert (found is None) == (expected is None)
    for name, value in ({} if found is None else vars(found)).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(value, getattr(expected, name))
        elif isinstance(value, Blocks):
            _same(value, getattr(expected, name))


def test_no_more_steps_go_the_short_way_than_there_is_room_for_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, many = _training(tmp_path / "many", _nothing)
    monkeypatch.setattr(steady, "_ROWS", 2 * (6 + 4 + 2))
    _, few = _training(tmp_path / "few", _nothing)
    assert 0 < few <= STEPS / 2 < many
