"""Summaries of what was measured with gradients, against their definitions on a few rows."""

import numpy as np
import pytest

import icshift
from icshift.analysis import measured
from icshift.runs.format import GRADIENT_SHIFT
from icshift.runs.writer import Recording


def row(step, layer, l2, norm, cosine=1.0):
    return {
        "step": step,
        "layer": layer,
        "parameters": 7,
        "l2": l2,
        "cosine": cosine,
        "norm": norm,
        "norm_after": norm,
    }


@pytest.fixture
def recording(tmp_path):
    return Recording(tmp_path / "run", {"sites": []})


def test_gradient_shift_is_relative_step_by_step_and_summed_up_by_medians(recording):
    rows = [row(0, "b", 1.0, 2.0, 0.9), row(0, "a", 0.0, 1.0)]
    rows += [row(2, "b", 3.0, 4.0, 0.5), row(2, "a", 0.0, 0.0), row(4, "b", 2.0, 20.0, 0.1), row(4, "a", 0.0, 1.0)]
    recording.append_measured(GRADIENT_SHIFT, rows)
    recording.finish({})
    table = measured.gradient_shift_summary(icshift.open(recording.path)).set_index("layer")
    assert list(table.index) == ["b", "a"]
    b = table.loc["b"]
    assert b["trend"] == [0.5, 0.75, 0.1]
    assert (b["l2"], b["relative"], b["last"], b["cosine"], b["n"], b["parameters"]) == (2, 0.5, 0.1, 0.5, 3, 7)
    assert (b["relative_p10"], b["relative_p90"]) == tuple(
        pytest.approx(np.quantile(b["trend"], p)) for p in (0.1, 0.9)
    )
    assert b["cosine_p10"] == pytest.approx(np.quantile([0.9, 0.5, 0.1], 0.1))


def test_a_gradient_of_length_0_has_no_relative_shift(recording):
    recording.append_measured(GRADIENT_SHIFT, [row(0, "a", 0.5, 0.0), row(2, "a", 0.5, 1.0)])
    recording.finish({})
    run = icshift.open(recording.path)
    np.testing.assert_array_equal(run.gradient_shift()["relative"], [np.nan, 0.5])
    a = measured.gradient_shift_summary(run).iloc[0]
    assert np.isnan(a["trend"][0])
    assert a["relative"] == 0.5


def test_nothing_measured_is_nothing_to_sum_up(recording):
    recording.finish({})
    assert measured.gradient_shift_summary(icshift.open(recording.path)).empty
