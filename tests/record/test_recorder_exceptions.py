"""Exceptions and Ctrl-C in a recorder's block, in the training or in a forward: no trace of the recorder is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.record.trained import assert_same, hooks_on, some, train, unrecorded, watched
from tests.zoo.models import Specimen


@pytest.mark.some(8)
@some
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_with_block_leaves_no_trace_either(
    specimen: Specimen, error: type[BaseException], tmp_path: Path
) -> None:
    expected, _ = unrecorded(specimen, stop=ValueError)  # Whatever is raised: there is nobody to notice.
    found = train(specimen, watched(tmp_path / "run"), stop=error("stop"))
    assert_same(found.numbers, expected)
    assert StoredRun(tmp_path / "run").finished


class Bomb(nn.Module):
    """Raises in its second forward."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise self.error("inside of a forward")
        return x


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_of_a_forward_leaves_no_hook(error: type[BaseException], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Bomb(error), nn.Linear(4, 2))
    before = hooks_on(model)
    with pytest.raises(error), Recorder(model, tmp_path / "run") as recorder:  # noqa: PT012
        assert hooks_on(model) != before
        model(torch.ones(3, 4))
        recorder.step()
        model(torch.ones(3, 4))
    assert hooks_on(model) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_a_forward_that_raised_recording_goes_on(error: type[BaseException], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Bomb(error), nn.Linear(4, 2))
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(3):
            try:
                model(torch.ones(3, 4))
            except (ValueError, KeyboardInterrupt):
                continue
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert [site.name for site in run.sites] == ["0", "2"]
    assert run.distribution("train", "0", 1).count.tolist() == [9] * 4
    assert run.distribution("train", "2", 1).count.tolist() == [6] * 2


def test_a_forward_that_raised_is_over(tmp_path: Path) -> None:
    """So a part that is called alone afterwards is not taken for a second call within it."""
    model = nn.Sequential(nn.Linear(4, 4), Bomb(ValueError), nn.Linear(4, 2)).eval()
    with Recorder(model, tmp_path / "run"):
        model(torch.ones(3, 4))
        with pytest.raises(ValueError, match="inside"):
            model(torch.ones(4, 4))
        model[0](torch.ones(5, 4))
    run = StoredRun(tmp_path / "run")
    assert [site.name for site in run.sites] == ["0", "2"]
    assert run.distribution("eval", "0", 1).count.tolist() == [12] * 4
