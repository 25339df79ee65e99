"""What is said of units that the step series does not hold."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from icshift.analysis.units import unit_series
from icshift.errors import SelectionError
from icshift.record.recorder import Recorder
from icshift.reports.onset import onset_notes
from icshift.reports.run import run_report
from icshift.runs.format import units_in_steps
from icshift.runs.reader import StoredRun


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    path = tmp_path_factory.mktemp("runs") / "run"
    model = nn.Sequential(nn.Linear(4, 200), nn.ReLU(), nn.Linear(200, 3))
    with Recorder(model, path) as recorder:
        for _ in range(6):
            model(torch.randn(8, 4)).sum().backward()
            recorder.step()
    return StoredRun(path)


def test_a_unit_of_the_series_is_shown_and_of_another_it_is_said_which_there_are(run: StoredRun) -> None:
    site = run.site("0")
    there = units_in_steps(site).tolist()
    assert unit_series(run, site, there[3], None)["step"].tolist() == list(range(6))
    absent = next(unit for unit in range(200) if unit not in there)
    with pytest.raises(
        SelectionError, match=f"unit {absent} of site 0 is not in .* has 64 of 200 units.* {there[0]}, "
    ):
        unit_series(run, site, absent, None)


def test_it_is_told_of_how_many_units_there_are_steps(run: StoredRun) -> None:
    assert run_report(run).body[1].columns[1].cells == ["200, 64 in steps", "3"]
    assert any("of 0 64 of 200 units, at 1 of 2 sites not all" in note for note in onset_notes(run))
