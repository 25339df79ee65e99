"""What a run says about the examples that its windows saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from icshift.analysis.same_examples import same_examples
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun

DATA = torch.randn(24, 6, generator=torch.Generator().manual_seed(3))

Net = Callable[[], nn.Module]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


def record(path: Path, epochs: list[Tensor], model: nn.Module | None = None, batch: int = 5) -> StoredRun:
    """One window an epoch of training on this data, and an evaluation of the first ten examples of `DATA` in each."""
    model = model or mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, path, probe=DATA[:8]) as recorder:
        for data in epochs:
            for x in data.split(batch):
                model(x).square().sum().backward()
                optimizer.step()
            model.eval()
            with torch.inference_mode():
                model(DATA[:10])
            model.train()
            recorder.epoch()
    return StoredRun(path)


def verdict(run: StoredRun, phase: str = "train") -> bool | None:
    before, after = run.window_list
    return same_examples(before.seen(phase), after.seen(phase))


def test_an_epoch_in_another_order_saw_the_same_examples_and_fresh_data_are_different(tmp_path: Path) -> None:
    again = record(tmp_path / "again", [DATA, DATA[torch.randperm(24)]])
    fresh = record(tmp_path / "fresh", [DATA, torch.randn(24, 6)])
    augmented = record(tmp_path / "augmented", [DATA, DATA + 0.01 * torch.randn(24, 6)])
    assert [verdict(run) for run in (again, fresh, augmented)] == [True, False, False]
    assert [verdict(run, "eval") for run in (again, fresh, augmented)] == [True, True, True]
    seen = again.window_list[0].inputs
    assert seen is not None
    assert {phase: of and of.examples for phase, of in seen.items()} == {"train": 24, "eval": 10}


def test_a_phase_that_was_not_there_is_not_known(tmp_path: Path) -> None:
    run = record(tmp_path / "run", [DATA, DATA])
    assert verdict(run, "probe") is None
    assert verdict(run, "nonsense") is None


class Parts(nn.Module):
    """Never called as a whole, as the modules of Lightning often are."""

    def __init__(self, *, two: bool) -> None:
        super().__init__()
        self.encoder = mlp()
        self.decoder = nn.Sequential(nn.Linear(2, 2))
        self.two = two


@pytest.mark.parametrize(("two", "expected"), [(False, False), (True, None)])
def test_a_model_of_which_one_part_is_called_is_known_and_of_two_it_is_not(
    two: bool, expected: bool | None, tmp_path: Path
) -> None:
    model = Parts(two=two)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run") as recorder:
        for data in (DATA, DATA + 1):
            output = model.encoder(data)
            (model.decoder(output) if two else output).square().sum().backward()
            optimizer.step()
            recorder.epoch()
    assert verdict(StoredRun(tmp_path / "run")) is expected


def test_of_a_compiled_model_it_is_not_known(tmp_path: Path) -> None:
    run = record(tmp_path / "run", [DATA, DATA], model=torch.compile(mlp(), backend="eager"), batch=24)
    assert run.sites
    assert verdict(run) is None


def test_an_input_that_cannot_be_told_apart_ends_neither_training_nor_recording(tmp_path: Path) -> None:
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp()

        def forward(self, holder: object) -> Tensor:
            return self.body(holder.x)  # type: ignore[attr-defined]

    class Holder:
        x = DATA

    model = Strange()
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(2):
            model(Holder())
            recorder.step()
            recorder.epoch()
    run = StoredRun(tmp_path / "run")
    assert run.window_list[0].inputs == {"train": None}
    assert verdict(run) is None
