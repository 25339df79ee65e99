"""Long stretches of which one step is recorded: which steps are recorded, and that evaluations are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import icshift
from icshift.record import thinning
from icshift.record.probe import Probe

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
