"""Numbers of the training's own: what is kept of them, at which step, and what is refused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icshift.api import open as opened
from icshift.errors import RecordingError
from icshift.record import logged as module
from icshift.record.logged import Logged
from icshift.record.recorder import Recorder

X = torch.randn(8, 4)


@contextmanager
def training(path: Path, **options: Any) -> Iterator[Any]:
    """A recorder and a function that takes a step and returns the loss."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> torch.Tensor:
        loss = model(X).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    with Recorder(model, path, optimizer=optimizer, **options) as recorder:
        yield recorder, step


def rows(path: Path) -> list[tuple[int, int, str]]:
    logged = opened(path).logged()
    return list(logged[["step", "window", "name"]].itertuples(index=False, name=None))


def test_numbers_are_kept_at_the_step_that_they_are_of(tmp_path: Path) -> None:
    losses = []
    with training(tmp_path / "run") as (recorder, step):
        for _ in range(2):
            for _ in range(3):
                loss = step()
                recorder.log(loss=loss, rate=0.1)
                losses.append(loss.item())
            recorder.log(accuracy=0.5)
            recorder.epoch()
            recorder.log(late=1)
    logged = opened(tmp_path / "run").logged()
    assert logged.columns.tolist() == ["step", "window", "name", "value"]
    assert logged.dtypes["value"] == np.float64
    of_loss = logged[logged.name == "loss"]
    assert of_loss.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert of_loss.window.tolist() == [1, 1, 1, 2, 2, 2]
    assert of_loss.value.tolist() == losses
    after = logged[logged.name.isin(["accuracy", "late"])]
    assert list(zip(after.step, after.window, after.name, strict=True)) == [
        *((2, 1, "accuracy"), (2, 1, "late")),
        *((5, 2, "accuracy"), (5, 2, "late")),
    ]


def test_before_the_optimizers_step_it_is_the_step_under_way(tmp_path: Path) -> None:
    with training(tmp_path / "run", window=2) as (recorder, step):
        recorder.log(before=1)
        for number in range(4):
            recorder.model(X)
            recorder.log(under_way=number)
            step()
            recorder.log(after=number)
    found = rows(tmp_path / "run")
    assert found[0] == (0, 1, "before")
    assert found[1::2] == [(number, 1 + number // 2, "under_way") for number in range(4)]
    assert found[2::2] == [(number, 1 + number // 2, "after") for number in range(4)]


@pytest.mark.some(4)
@pytest.mark.parametrize(
    "value",
    [
        *(0.25, 1, True, np.float32(0.25), np.float64(0.25), np.int64(3), np.array(0.25), Fraction(1, 4)),
        *(torch.tensor(0.25, requires_grad=True), torch.tensor([0.25]), torch.tensor(3), torch.tensor(0.25).half()),
        *(math.nan, math.inf, torch.tensor(-math.inf)),
    ],
    ids=repr,
)
def test_any_number_is_kept_as_it_is(value: Any, tmp_path: Path) -> None:
    with training(tmp_path / "run") as (recorder, step):
        step()
        with warnings.catch_warnings(action="error"):
            recorder.log(value=value)
    [found] = opened(tmp_path / "run").logged()["value"]
    assert found == pytest.approx(float(value), nan_ok=True)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "got NoneType None"),
        ("0.5", "got str '0.5'"),
        ([0.5], r"got list \[0.5\]"),
        (torch.ones(3), r"a tensor of float32 \[3\]"),
        (torch.ones(0), r"a tensor of float32 \[0\]"),
        (np.ones(2), "got ndarray"),
        (1j, "got complex 1j"),
        (torch.tensor(1j), r"a tensor of complex64 \[\]"),
        (torch.tensor(1.0, device="meta"), r"float32 \[\] \(Tensor on meta\)"),
        ("a long text " * 9, "got str 'a long text a long text a long text a l…"),
    ],
    ids=repr,
)
def test_what_is_no_number_is_refused_at_once_and_nothing_is_kept_of_the_call(
    value: Any, found: str, tmp_path: Path
) -> None:
    with training(tmp_path / "run") as (recorder, step):
        step()
        with pytest.raises(RecordingError, match=found):
            recorder.log(good=1.0, bad=value)
    assert rows(tmp_path / "run") == []


def test_a_sum_that_is_changed_later_is_kept_as_it_was(tmp_path: Path) -> None:
    with training(tmp_path / "run") as (recorder, step):
        total = torch.zeros(())
        for _ in range(3):
            step()
            total += 1
            recorder.log(total=total)
    assert opened(tmp_path / "run").logged()["value"].tolist() == [1.0, 2.0, 3.0]


def test_numbers_on_a_device_are_read_when_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    # What is done with a tensor on a GPU, on tensors of the only device that there has to be.
    kept = []
    monkeypatch.setattr(
        module, "as_number", lambda _, value: kept.append(value) or (module._copy(value) if value.ndim == 0 else 2.0)
    )
    logged = Logged()
    first = torch.tensor(0.5, requires_grad=True)
    logged.note({"a": first, "b": torch.zeros(1), "c": torch.tensor(7)}, step=1, window=1)
    with torch.no_grad():
        first += 1
    assert [row["value"] for row in logged.taken()] == [0.5, 2.0, 7.0]
    assert logged.taken() == []


def test_before_the_block_it_is_a_mistake_and_after_it_a_warning(tmp_path: Path) -> None:
    model = nn.Linear(4, 2)
    recorder = Recorder(model, tmp_path / "run")
    with pytest.raises(RecordingError, match="with block"):
        recorder.log(loss=1.0)
    with recorder:
        model(X)
        recorder.step()
    with pytest.warns(RuntimeWarning, match=r"keeps no loss: the recording of .* has ended"):
        recorder.log(loss=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recorder.log(loss=1.0)
    assert rows(tmp_path / "run") == []


def test_it_goes_on_without_a_word_where_recording_was_given_up(tmp_path: Path) -> None:
    with training(tmp_path / "run") as (recorder, step):
        step()
        with pytest.warns(RuntimeWarning, match="stopped recording"):
            recorder._troubles.give_up(OSError("the disk is full"))
        recorder.log(loss=step())
        assert recorder._logged.taken() == []


def test_nothing_logged_is_an_empty_table_and_force_replaces_what_was(tmp_path: Path) -> None:
    for number in (1, 0):
        with training(tmp_path / "run", force=True) as (recorder, step):
            step()
            recorder.log(**dict.fromkeys(["train/loss"] * number, 1))
        assert len(rows(tmp_path / "run")) == number
    assert opened(tmp_path / "run").logged().columns.tolist() == ["step", "window", "name", "value"]


def test_of_several_processes_each_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        with training(tmp_path / "run") as (recorder, step):
            step()
            recorder.log(loss=rank)
    expected = pd.DataFrame({"step": [0, 0], "window": [1, 1], "name": "loss", "value": [0.0, 1.0], "rank": [0, 1]})
    pd.testing.assert_frame_equal(opened(tmp_path / "run").logged(), expected, check_dtype=False)
