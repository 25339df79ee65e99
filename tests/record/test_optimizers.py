"""When a step ends, when a window ends, and what belongs to which phase."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.oracles.hooks import Witness, assert_moments, assert_step, by_unit


def batch(rows: int = 6) -> Tensor:
    return torch.randn(rows, 4)


def pair() -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(7)
    model = nn.Linear(4, 3)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def learn(model: nn.Module, optimizer: torch.optim.Optimizer, rows: int = 6) -> None:
    optimizer.zero_grad()
    model(batch(rows)).square().sum().backward()
    optimizer.step()


def counts(run: StoredRun, phase: str = "train", unit: int = 0) -> dict[int, int]:
    """Activations of one unit by step."""
    steps = run.steps(phase)
    return dict(steps[steps.unit == unit].set_index("step")["count"])


def test_phases_are_kept_apart(tmp_path: Path) -> None:
    model, optimizer = pair()
    oracle = Witness({"train": model}, calls=None)
    with Recorder(model, tmp_path / "run", samples="all") as recorder:
        learn(model, optimizer)
        oracle.end()
        model.eval()
        with torch.no_grad():
            model(batch(7))
        oracle.end()
        model.train()
        with recorder.phase("fake"):
            model(batch(8))
        oracle.end()
    run = StoredRun(tmp_path / "run")
    assert sorted(run.phases) == ["eval", "fake", "train"]
    for phase, seen in zip(("train", "eval", "fake"), oracle.steps, strict=True):
        assert_moments(run.distribution(phase, "(model)", 1), by_unit(seen["train"], run.sites[0]))


def test_a_label_holds_for_its_block_and_nests(tmp_path: Path) -> None:
    model, _ = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        with contextlib.suppress(ValueError), recorder.phase("outer"):
            with recorder.phase("inner"):
                model(batch(1))
            model(batch(2))
            raise ValueError
        model(batch(3))
    run = StoredRun(tmp_path / "run")
    found = {phase: run.distribution(phase, "(model)", 1).count[0] for phase in run.phases}
    assert found == {"inner": 1, "outer": 2, "train": 3}


def test_the_names_of_the_probes_phases_are_refused(tmp_path: Path) -> None:
    model, _ = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        model(batch())
        with pytest.raises(RecordingError, match="probe-train"), recorder.phase("probe-train"):
            pass


def test_each_forward_in_eval_mode_stands_for_itself_and_makes_no_step(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run"):
        model.eval()
        model(batch(5))
        model.train()
        learn(model, optimizer)
        model.eval()
        model(batch(7))
        model(batch(9))
    run = StoredRun(tmp_path / "run")
    assert run.distribution("eval", "(model)", 1).count.tolist() == [21] * 3
    assert run.manifest["steps"] == 1
    assert counts(run) == {0: 6}
    assert counts(run, "eval") == {}


def test_an_evaluation_between_forward_and_optimizer_step_changes_no_step(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run"):
        for _ in range(3):
            loss = model(batch(5)).sum()
            model.eval()
            model(batch(7))
            model.train()
            loss = loss + model(batch(6)).sum()
            loss.backward()
            optimizer.step()
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {0: 11, 1: 11, 2: 11}
    assert run.distribution("eval", "(model)", 1).count.tolist() == [21] * 3


def test_an_evaluation_of_a_part_alone_changes_no_step_either(tmp_path: Path) -> None:
    model = Gan()
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(3):
            model.generator(batch(5))
            model.eval()
            model.generator(batch(7))
            model.generator(batch(7))
            model.train()
            model.generator(batch(6))
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {0: 11, 1: 11, 2: 11}
    assert run.distribution("eval", "generator", 1).count.tolist() == [42] * 4


def test_gradient_accumulation_is_one_step(tmp_path: Path) -> None:
    model, optimizer = pair()
    oracle = Witness({"(model)": model}, calls=None)
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(3):
            for rows in (5, 6, 7):
                model(batch(rows)).sum().backward()
                oracle.begin()
            optimizer.step()
            oracle.end()
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {0: 18, 1: 18, 2: 18}
    for number, seen in enumerate(oracle.steps):
        assert len(seen["(model)"]) == 3
        steps = run.steps()
        assert_step(steps[steps.step == number], by_unit(seen["(model)"], run.sites[0]))


def test_accumulated_micro_batches_share_the_samples_of_a_step(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run", samples=8):
        for _ in range(3):
            for _ in range(4):
                model(batch(50))
            optimizer.step()
    distribution = StoredRun(tmp_path / "run").distribution("train", "(model)", 1)
    assert distribution.count.tolist() == [600] * 3
    assert distribution.sampled.tolist() == [24] * 3


def test_an_optimizer_step_that_follows_no_forward_is_no_step(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        optimizer.step()
        learn(model, optimizer)
        optimizer.step()
        optimizer.step()
        learn(model, optimizer)
    run = StoredRun(tmp_path / "run")
    assert run.manifest["steps"] == 2
    assert counts(run) == {0: 6, 1: 6}


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator, self.discriminator = nn.Linear(4, 4), nn.Linear(4, 3)


@pytest.mark.parametrize("listened_to", ["both", "found", "discriminator"])
def test_of_two_optimizers_each_ends_a_step_that_follows_a_forward(listened_to: str, tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = Gan()
    of_g, of_d = (torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.generator, model.discriminator))
    given = {"both": [of_d, of_g], "found": None, "discriminator": of_d}[listened_to]
    with Recorder(model, tmp_path / "run", optimizer=given) as recorder:
        for _ in range(3):
            real = model.discriminator(batch(5))
            with recorder.phase("fake"):
                fake = model.discriminator(model.generator(batch(6)).detach())
            (real.sum() - fake.sum()).backward()
            of_d.step()
            model.discriminator(model.generator(batch(7))).sum().backward()
            of_g.step()
            of_d.step()
    run = StoredRun(tmp_path / "run")
    assert run.manifest["steps"] == 6
    steps = run.steps()
    found = steps[steps.unit == 0].groupby(["site", "phase"])[["step", "count"]].agg(list).T.to_dict("list")
    assert found == {
        ("discriminator", "fake"): [[0, 2, 4], [6, 6, 6]],
        ("discriminator", "train"): [[0, 1, 2, 3, 4, 5], [5, 7, 5, 7, 5, 7]],
        ("generator", "fake"): [[0, 2, 4], [6, 6, 6]],
        ("generator", "train"): [[1, 3, 5], [7, 7, 7]],
    }


def test_without_an_optimizer_given_any_that_holds_a_parameter_of_the_model_is_found(tmp_path: Path) -> None:
    model, _ = pair()
    stranger = torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    with Recorder(model, tmp_path / "run"):
        later = torch.optim.AdamW([{"params": [model.bias]}, {"params": [nn.Parameter(torch.ones(2)), model.weight]}])
        for _ in range(3):
            learn(model, later)
            model(batch(2))
            stranger.step()
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {0: 6, 1: 8, 2: 8}
    assert run.manifest["steps"] == 3
    (rest,) = set(run.distribution("train", run.sites[0].name, 1).count - 22)
    assert rest == 2, "the last forward had no step, but is in the window"


def test_optimizers_that_were_not_given_end_no_step(tmp_path: Path) -> None:
    model, optimizer = pair()
    other = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        learn(model, other)
        learn(model, optimizer)
    assert counts(StoredRun(tmp_path / "run")) == {0: 12}


def test_what_is_no_optimizer_is_refused(tmp_path: Path) -> None:
    model, optimizer = pair()
    with pytest.raises(RecordingError, match="StepLR"):
        Recorder(model, tmp_path / "run", optimizer=[torch.optim.lr_scheduler.StepLR(optimizer, 1)])


def test_a_step_can_be_ended_by_hand(tmp_path: Path) -> None:
    model, _ = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        for rows in (3, 4, 5):
            model(batch(rows))
            recorder.step()
            recorder.step()
    assert counts(StoredRun(tmp_path / "run")) == {0: 3, 1: 4, 2: 5}


def bounds(run: StoredRun) -> list[tuple[Any, ...]]:
    assert all(window.closed for window in run.window_list)
    return [(window.index, window.name, window.first_step, window.last_step) for window in run.window_list]


def test_a_window_ends_with_an_epoch_and_the_rest_is_kept(tmp_path: Path) -> None:
    model, optimizer = pair()
    oracle = Witness({"(model)": model}, calls=None)
    with Recorder(model, tmp_path / "run", samples=4) as recorder:
        for epoch in range(3):
            for _ in range(3 if epoch < 2 else 1):
                learn(model, optimizer)
                oracle.end()
            if epoch < 2:
                recorder.epoch()
    run = StoredRun(tmp_path / "run")
    assert bounds(run) == [(1, "1", 0, 2), (2, "2", 3, 5), (3, "3", 6, 6)]
    for index, steps in ((1, slice(0, 3)), (2, slice(3, 6)), (3, slice(6, 7))):
        seen = [step["(model)"][0] for step in oracle.steps[steps]]
        assert_moments(run.distribution("train", "(model)", index), by_unit(seen, run.sites[0]))


def test_windows_can_be_named(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        for name in ("warm-up", None, "ünïcode / slash"):
            learn(model, optimizer)
            recorder.epoch(name)
    run = StoredRun(tmp_path / "run")
    assert bounds(run) == [(1, "warm-up", 0, 0), (2, "2", 1, 1), (3, "ünïcode / slash", 2, 2)]
    assert run.window("warm-up").index == 1


def test_an_epoch_without_a_forward_is_no_window(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        recorder.epoch()
        learn(model, optimizer)
        recorder.epoch("real")
        recorder.epoch("nothing")
    assert bounds(StoredRun(tmp_path / "run")) == [(1, "real", 0, 0)]


def test_a_window_ends_after_so_many_steps_and_the_last_may_be_shorter(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run", window=3):
        for _ in range(8):
            learn(model, optimizer)
    run = StoredRun(tmp_path / "run")
    assert bounds(run) == [(1, "1", 0, 2), (2, "2", 3, 5), (3, "3", 6, 7)]
    assert [run.distribution("train", "(model)", index).count[0] for index in (1, 2, 3)] == [18, 18, 12]


def test_an_epoch_ends_a_window_of_steps_early(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run", window=3) as recorder:
        for step in range(6):
            learn(model, optimizer)
            if step == 1:
                recorder.epoch("early")
    assert bounds(StoredRun(tmp_path / "run")) == [(1, "early", 0, 1), (2, "2", 2, 4), (3, "3", 5, 5)]


def test_steps_are_numbered_through_all_windows(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run", window=2):
        for _ in range(5):
            learn(model, optimizer)
    assert counts(StoredRun(tmp_path / "run")) == dict.fromkeys(range(5), 6)


def paused_twice(recorder: Recorder) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    stack.enter_context(recorder.paused())
    stack.enter_context(recorder.paused())
    return stack


@pytest.mark.parametrize("pause", [Recorder.paused, paused_twice])
def test_nothing_is_recorded_and_no_hook_is_there_while_paused(
    pause: Callable[[Recorder], contextlib.AbstractContextManager[Any]], tmp_path: Path
) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        learn(model, optimizer)
        for _ in range(2):
            with contextlib.suppress(ValueError), pause(recorder):
                learn(model, optimizer, rows=100)
                assert not model._forward_hooks
                assert not model._forward_pre_hooks
                raise ValueError
        learn(model, optimizer)
    assert not model._forward_hooks
    assert counts(StoredRun(tmp_path / "run")) == {0: 6, 1: 6}


def test_a_pause_within_a_pause_does_not_end_it(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        learn(model, optimizer)
        with recorder.paused():
            with recorder.paused():
                pass
            learn(model, optimizer, rows=100)
    assert counts(StoredRun(tmp_path / "run")) == {0: 6}


def test_after_its_end_a_recorder_hooks_nothing_and_cannot_begin_again(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "run") as recorder:
        learn(model, optimizer)
    with recorder.paused():
        pass
    recorder.step()
    recorder.epoch()
    learn(model, optimizer)
    assert not model._forward_hooks
    with pytest.raises(RecordingError, match="new one"):
        recorder.__enter__()
    assert counts(StoredRun(tmp_path / "run")) == {0: 6}


def test_two_recorders_may_watch_one_model(tmp_path: Path) -> None:
    model, optimizer = pair()
    with Recorder(model, tmp_path / "a"), Recorder(model, tmp_path / "b", samples="all", window=2):
        for _ in range(4):
            learn(model, optimizer)
    first, second = StoredRun(tmp_path / "a"), StoredRun(tmp_path / "b")
    assert len(first.window_list) == 1
    assert len(second.window_list) == 2
    whole = first.distribution("train", "(model)", 1)
    parts = second.distribution("train", "(model)", 1).merge(second.distribution("train", "(model)", 2))
    assert np.array_equal(whole.count, parts.count)
    np.testing.assert_allclose(whole.mean, parts.mean, rtol=1e-5)


@pytest.mark.parametrize("options", [{"samples": 1}, {"samples": "some"}, {"samples": 2.5}, {"window": 0}])
def test_senseless_settings_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=next(iter(options))):
        Recorder(nn.Linear(4, 3), tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
