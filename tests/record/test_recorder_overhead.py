"""A recorder with a budget: what it records of steps, against plain hooks at exactly these, and that it says so.

The budget is so small that it is never enough, whatever the machine; a stretch is of 4 steps at most.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import icshift
from icshift.errors import RecordingError
from icshift.record import thinning
from icshift.record.probe import Probe
from icshift.runs.reader import StoredRun
from tests.record.trained import assert_same, some, train, unrecorded, watched
from tests.zoo.models import Specimen

TINY = 1e-6
LONGEST = 4
STEPS, BATCH = 240, 16


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "MOST", LONGEST)


def _network() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def _train(path: Path | None, *, forwards: int = 1, evaluate: int = 0, **options: Any) -> dict[str, Any]:
    """A training with plain hooks, and with a recorder if a path is given. Returns all that it leaves behind."""
    model, optimizer = _network()
    plain: list[list[torch.Tensor]] = [[]]
    stepping = [True]
    handle = model[0].register_forward_hook(
        lambda _, __, output: plain[-1].append(output.detach().clone()) if stepping[0] else None
    )
    recorder = None if path is None else icshift.Recorder(model, path, optimizer=optimizer, **options)
    if recorder is not None:
        recorder.__enter__()
    for step in range(STEPS):
        plain.append([])
        for _ in range(forwards):
            model(torch.randn(BATCH, 5)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if evaluate and (step + 1) % evaluate == 0:
            stepping[0] = False
            model.eval()
            with torch.no_grad():
                model(torch.ones(7, 5))
            model.train()
            stepping[0] = True
    if recorder is not None:
        recorder.__exit__(None, None, None)
    handle.remove()
    del plain[0]  # Of the probe, which is tried before the training.
    state = [value.clone() for value in model.state_dict().values()]
    return {"plain": plain, "state": state, "random": torch.get_rng_state()}


def _recorded(run: Any) -> list[int]:
    return sorted(run.steps(phase="train", sites="0")["step"].unique())


@pytest.mark.some(3)
@pytest.mark.parametrize("window", [60, "auto", None])
@pytest.mark.parametrize("forwards", [1, 2])
def test_windows_and_steps_are_those_of_plain_hooks_at_the_recorded_steps(
    tmp_path: Path, window: Any, forwards: int
) -> None:
    trained = _train(tmp_path / "run", forwards=forwards, window=window, overhead=TINY)
    run = icshift.open(tmp_path / "run")
    recorded = _recorded(run)
    assert 32 < len(recorded) < STEPS / 2
    series = run.steps(phase="train", sites="0").set_index(["step", "unit"])
    for step in recorded:
        seen = torch.cat(trained["plain"][step]).double()
        np.testing.assert_allclose(series.loc[step]["mean"], seen.mean(0), atol=1e-5)
        assert (series.loc[step]["count"] == BATCH * forwards).all()
    told = run.manifest["thinned"]
    assert told["steps_left_out"] == STEPS - len(recorded) == sum(w.left_out for w in run.window_list)
    assert [one["stride"] for one in told["strides"]] == [LONGEST]
    begun = told["strides"][0]["from_step"]
    assert recorded[:begun] == list(range(begun))
    assert [(step - begun) // LONGEST for step in recorded[begun:]] == list(range(len(recorded) - begun))
    frame = run.windows()
    for one in run.window_list:
        within = [step for step in recorded if one.first_step <= step <= one.last_step]
        assert one.steps - one.left_out == len(within)
        seen = torch.cat([tensor for step in within for tensor in trained["plain"][step]]).double()
        rows = frame[(frame["window"] == one.index) & (frame["site"] == "0") & (frame["phase"] == "train")]
        assert (rows["count"] == len(seen)).all()
        np.testing.assert_allclose(rows["mean"], seen.mean(0), atol=1e-5)
        np.testing.assert_allclose(rows["sd"], seen.std(0, correction=0), atol=1e-4)
        kept = StoredRun(tmp_path / "run").distribution("train", "0", one.index)
        assert kept is not None
        assert kept.blocks is not None
        assert int(np.sum(kept.blocks.steps)) == len(within)


def test_training_is_bit_identical(tmp_path: Path) -> None:
    without = _train(None)
    with_budget = _train(tmp_path / "run", window=60, overhead=TINY)
    assert all(map(torch.equal, without["state"], with_budget["state"]))
    assert torch.equal(without["random"], with_budget["random"])
    assert all(map(torch.equal, chain(*without["plain"]), chain(*with_budget["plain"])))


def test_evaluations_and_probes_are_recorded_whole(tmp_path: Path) -> None:
    _train(tmp_path / "run", evaluate=10, window=60, overhead=TINY, probe=Probe(torch.ones(3, 5)))
    frame = icshift.open(tmp_path / "run").windows()
    first = frame[(frame["site"] == "0") & (frame["unit"] == 0)]
    assert list(first[first["phase"] == "eval"]["count"]) == [42] * 4
    assert list(first[first["phase"] == "probe"]["count"]) == [3] * 4


def test_which_examples_a_thinned_window_saw_is_not_known(tmp_path: Path) -> None:
    _train(tmp_path / "run", window=30, overhead=TINY)
    windows = icshift.open(tmp_path / "run").window_list
    assert [window.seen("train") is None for window in windows] == [window.left_out > 0 for window in windows]
    assert windows[0].left_out == 0
    assert windows[-1].left_out > 0


def test_without_a_budget_no_file_speaks_of_one(tmp_path: Path) -> None:
    _train(tmp_path / "run", window=60)
    manifest = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "thinned" not in manifest
    assert "overhead_budget" not in manifest["settings"]
    assert all(b"left_out" not in file.read_bytes() for file in (tmp_path / "run" / "windows").iterdir())


def test_modules_that_are_called_in_steps_left_out_are_not_taken_for_bypassed(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"always": nn.Linear(3, 3), "late": nn.Linear(3, 3)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizer, window=40, overhead=TINY) as recorder:
        for step in range(STEPS):
            hidden = model["always"](torch.randn(4, 3))
            if step > 60:
                hidden = model["late"](hidden)
            hidden.sum().backward()
            optimizer.step()
    states = {entry["module"]: entry["state"] for entry in icshift.open(recorder.path).manifest["ledger"]}
    assert states["always"] == "observed"
    assert states["late"] in ("observed", "never called")


@pytest.mark.parametrize("overhead", [0, -0.1, 1, 5, "3%", True, float("nan")])
def test_a_budget_that_is_no_share_is_refused(tmp_path: Path, overhead: Any) -> None:
    with pytest.raises(RecordingError, match=r"overhead is .*: expected a share above 0 and below 1"):
        icshift.Recorder(nn.Linear(1, 1), tmp_path / "run", overhead=overhead)


@pytest.mark.some(6)
@some
def test_models_of_all_kinds_train_bit_identically_where_steps_are_left_out(
    specimen: Specimen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "LOOK", 1)
    monkeypatch.setattr(thinning, "MOST", 2)
    found = train(specimen, watched(tmp_path / "run", overhead=TINY))
    assert_same(found.numbers, unrecorded(specimen)[0])
    assert StoredRun(tmp_path / "run").manifest["thinned"]["steps_left_out"] > 0
