"""Long stretches of which one step is recorded: which steps are recorded, and that evaluations are."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import icshift
from icshift.record import faults, thinning
from icshift.record.probe import Probe
from icshift.reports.thinned import thinned

TINY, LONGEST, STEPS, BATCH = 1e-6, 16, 400, 8


@pytest.fixture(autouse=True)
def long_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "MOST", LONGEST)


class Partly(nn.Module):
    """A model of which one part is frozen, in eval mode, and called without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
        self.body = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            x = self.frozen.eval()(x)
        out: torch.Tensor = self.body(x)
        return out


def _trained(path: Path | None, **options: Any) -> tuple[list[torch.Tensor], list[int], set[int]]:
    """Parameters after the training, how many hooks were on its layers in each step, and all evaluated steps."""
    torch.manual_seed(0)
    model = Partly()
    optimizer = torch.optim.SGD(model.body.parameters(), lr=0.05, momentum=0.9)
    recorder = None if path is None else icshift.Recorder(model, path, optimizer=optimizer, **options)
    hooks, evaluated = [], set()
    if recorder is not None:
        recorder.__enter__()
    for step in range(STEPS):
        model(torch.randn(BATCH, 3)).square().mean().backward()
        hooks.append(sum(len(module._forward_hooks) for module in model.body))
        optimizer.step()
        optimizer.zero_grad()
        if step % 37 == 5:
            evaluated.add(step)
            model.eval()
            with torch.no_grad():
                model(torch.ones(7, 3))
            model.train()
    if recorder is not None:
        recorder.__exit__(None, None, None)
    return [value.clone() for value in model.state_dict().values()], hooks, evaluated


@pytest.mark.some(1)
@pytest.mark.parametrize("window", [100, None])
def test_steps_pass_without_hooks_and_evaluations_are_recorded_whole(tmp_path: Path, window: Any) -> None:
    plain, _, _ = _trained(None)
    state, hooks, evaluated = _trained(tmp_path / "run", window=window, overhead=TINY, probe=Probe(torch.ones(2, 3)))
    assert all(map(torch.equal, plain, state))
    run = icshift.open(tmp_path / "run")
    recorded = sorted(run.steps(phase="train", sites="body.0")["step"].unique())
    told = run.manifest["thinned"]
    assert told["strides"][-1]["stride"] == LONGEST
    assert told["steps_left_out"] == STEPS - len(recorded) == sum(one.left_out for one in run.window_list)
    begun = told["strides"][-1]["from_step"]
    late = [step for step in recorded if step >= begun]
    assert [(step - begun) // LONGEST for step in late] == list(range(len(late)))
    assert all(hooks[step] for step in recorded)
    assert sum(not on for on in hooks) > STEPS / 4
    assert run.manifest["steps"] == STEPS
    frame = run.windows()
    first = frame[(frame["site"] == "body.0") & (frame["unit"] == 0)]
    assert first[first["phase"] == "eval"]["count"].sum() == 7 * len(evaluated)
    assert first[first["phase"] == "train"]["count"].sum() == BATCH * len(recorded)
    frozen = frame[(frame["site"] == "frozen.0") & (frame["unit"] == 0)]
    assert frozen[frozen["phase"] == "eval"]["count"].sum() == 7 * len(evaluated)


def test_a_second_optimizer_ends_no_step_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.05) for layer in (model[0], model[2])]
    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizers, overhead=TINY) as recorder:
        for _ in range(STEPS):
            model(torch.randn(BATCH, 3)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
            for optimizer in optimizers:
                optimizer.zero_grad()
    assert recorder.steps == STEPS
    assert icshift.open(tmp_path / "run").manifest["unheard_steps"] == 0


Act = Callable[[int, "icshift.Recorder", nn.Module], object]


def _passed(path: Path, act: Act, steps: int = STEPS, **options: Any) -> Any:
    """A run of a training in which `act(step, recorder, model)` comes before each step."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with icshift.Recorder(model, path, optimizer=optimizer, overhead=TINY, **options) as recorder:
        for step in range(steps):
            call = act(step, recorder, model)
            (call if callable(call) else model)(torch.randn(BATCH, 3)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert recorder.steps == steps
    return icshift.open(path)


@pytest.mark.some(1)
@pytest.mark.parametrize("how", ["epoch", "epoch_begins"])
def test_which_examples_an_epoch_saw_is_not_known_where_its_first_steps_pass(tmp_path: Path, how: str) -> None:
    epochs = set(range(290, STEPS, 37))
    run = _passed(tmp_path / "run", lambda step, recorder, _: getattr(recorder, how)() if step in epochs else None)
    windows = run.window_list
    assert [window.seen("train") is None for window in windows] == [window.left_out > 0 for window in windows]
    assert [window.first_step for window in windows] == [0, *sorted(epochs)]


def test_a_length_of_windows_that_changes_while_steps_pass_holds_at_once(tmp_path: Path) -> None:
    change = {321: 340}

    def act(step: int, recorder: icshift.Recorder, _: nn.Module) -> None:
        if step in change:
            recorder.window = change[step]
        if step == 345:
            recorder.window = 20

    run = _passed(tmp_path / "run", act)
    assert [(one.first_step, one.last_step) for one in run.window_list] == [
        (0, 339),
        (340, 359),
        (360, 379),
        (380, 399),
    ]
    assert all(one.seen("train") is None for one in run.window_list)


@pytest.mark.some(3)
@pytest.mark.parametrize("from_step", range(370, 378))
def test_no_step_is_lost_where_the_forward_is_called_in_place_of_the_model(tmp_path: Path, from_step: int) -> None:
    run = _passed(tmp_path / "run", lambda step, _, model: model.forward if step >= from_step else None)
    recorded = sorted(run.steps(phase="train", sites="0")["step"].unique())
    assert run.manifest["steps"] == STEPS
    assert run.manifest["unheard_steps"] <= 1
    assert run.manifest["thinned"]["steps_left_out"] == STEPS - len(recorded)
    assert recorded[-1] > STEPS - 2 * LONGEST


def test_steps_that_pass_while_nothing_can_be_written_are_missing_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_FIRST", 0.0)
    monkeypatch.setattr(faults, "_LONGEST", 0.0)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)

    def act(step: int, *_: Any) -> None:
        if step in (320, 370):  # Nothing can be opened in between.
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]) if step == 320 else before)

    try:
        with pytest.warns(RuntimeWarning, match="icshift stopped recording"):
            run = _passed(tmp_path / "run", act, window=25)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    (gap,) = run.manifest["gaps"]
    recorded = sorted(run.steps(phase="train", sites="0")["step"].unique())
    assert not any(gap["first_step"] <= step <= gap["last_step"] for step in recorded)
    for one in run.window_list:
        within = sum(one.first_step <= step <= one.last_step for step in recorded)
        assert one.steps - one.left_out == within
    assert recorded[-1] > 370
    missing = gap["last_step"] - gap["first_step"] + 1
    assert run.manifest["thinned"]["steps_left_out"] == STEPS - missing - len(recorded)
    assert f"{len(recorded):,} of {STEPS:,} recorded." in thinned(run)


def test_a_training_that_was_stopped_while_steps_passed_goes_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        options: dict[str, Any] = {"optimizer": optimizer, "window": 50, "overhead": TINY, "resume": True}
        with icshift.Recorder(model, tmp_path / "run", **options) as recorder:
            for _ in range(300):
                model(torch.randn(BATCH, 3)).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
    assert recorder.steps == 600
    run = icshift.open(tmp_path / "run")
    recorded = sorted(run.steps(phase="train", sites="0")["step"].unique())
    told = run.manifest["thinned"]
    assert told["steps_left_out"] == 600 - len(recorded) == sum(one.left_out for one in run.window_list)
    assert [one["stride"] for one in told["strides"]] == [LONGEST, 1, LONGEST]
    for one in run.window_list:
        assert one.steps - one.left_out == sum(one.first_step <= step <= one.last_step for step in recorded)
