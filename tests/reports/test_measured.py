"""What reports say of measurements with gradients."""

import pandas as pd
import pytest

from icshift.reports.measured import measured_reports
from icshift.runs.format import GRADIENT_SHIFT
from tests.reports.shown import run_of, words

SHIFT = pd.DataFrame(
    {
        "layer": ["fc1", "fc2"],
        "parameters": [6400, 1010],
        "n": 3,
        "l2": [0.0, 0.5],
        "relative": [0.0, 0.25],
        "relative_p10": [0.0, 0.125],
        "relative_p90": [0.0, float("nan")],
        "cosine": [1.0, 0.125],
        "cosine_p10": [1.0, float("nan")],
        "trend": [[0.0, 0.0, 0.0], [0.1, 0.2, 0.3]],
    }
)
AROUND = {
    "n": 3,
    "rate": 0.1,
    "loss_range": 1.5,
    "predictiveness_min": 0.1,
    "predictiveness_max": 0.75,
    "beta_rate": 1.75,
    "beta_rate_max": 2.25,
    "beta_step": 0.5,
}


@pytest.fixture
def run(tmp_path):
    return run_of(tmp_path / "run", [], sites=[], measured={GRADIENT_SHIFT: {"counted": "all"}})


def test_each_has_its_own_report(run):
    shift, around = measured_reports(run, SHIFT, AROUND)
    said = words(shift)
    assert "fc1 6,400 0 0 0–0 1.000 1.000" in said
    assert "fc2 1,010 0.500 0.250 – 0.125 –" in said
    assert "Medians of n = 3 measured steps" in said
    assert "All depend on the batch" in said
    assert "Counted of each layer: all parameters." in said
    assert [row["layer"] for row in shift.data["gradient_shift"]] == ["fc1", "fc2"]
    assert "β·lr (reference: 2) 1.750, at most 2.250; attained mostly at 0.5 lr" in words(around)
    assert around.data["smoothness"] == AROUND


def test_there_is_none_of_what_was_not_measured(run):
    assert measured_reports(run, SHIFT.iloc[:0], {}) == []
    assert len(measured_reports(run, SHIFT, {})) == 1
