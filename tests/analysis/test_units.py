"""Which units drift most, what one did, and the drift of all of them as one table."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.units import drift_of_phases, most_drifting, typical_unit, unit_series, wandering, without_values
from icshift.errors import SelectionError
from icshift.runs.reader import StoredRun
from tests.recorded import distribution, probe, write_run


@pytest.fixture
def run(tmp_path):
    """Two windows: unit 2 of `a` moves by 2, unit 0 by 1, unit 1 not at all; `b` was seen once."""
    values = np.random.default_rng(5).normal(size=(3, 400))
    windows = []
    for window in (0, 1):
        moved = values + window * np.array([[1.0], [0.0], [-2.0]])
        windows.append({("train", "a"): distribution(moved), ("probe", "a"): probe(moved)})
    windows[1]["train", "b"] = distribution(values)
    return StoredRun(write_run(tmp_path / "run", windows))


def test_most_drifting_first_whatever_the_direction(run):
    found = most_drifting(run, run.site("a"), "w1", "previous", None)
    assert found["unit"].tolist() == [2, 0, 1]
    assert found["value"].abs().tolist() == pytest.approx([2, 1, 0], abs=1e-5)
    assert found["mean"].tolist() == pytest.approx(run.distribution("train", "a", 2).mean[[2, 0, 1]].tolist())


def test_with_nothing_to_compare_there_is_the_distribution(run):
    found = most_drifting(run, run.site("b"), "w1", "previous", None)
    assert found["value"].isna().all()
    assert found["n"].tolist() == [400] * 3


def test_what_units_do_not_have_is_refused(run):
    with pytest.raises(
        SelectionError, match=r"icshift report .* --metric cka_distance --phase probe --site a shows it"
    ):
        most_drifting(run, run.site("a"), "cka_distance", "previous", "probe")
    with pytest.raises(SelectionError, match="b has nothing recorded in phase probe"):
        most_drifting(run, run.site("b"), "w1", "previous", "probe")
    with pytest.raises(SelectionError, match=r"no unit 3 in site a: it has units 0 to 2, all$"):
        unit_series(run, run.site("a"), 3, None)


def test_every_phase_is_in_one_table(run):
    found = drift_of_phases(run, ["w1", "displacement"], sites=["a"])
    assert found.groupby("phase", sort=False).size().to_dict() == {"train": 6, "probe": 6}
    assert without_values(found) == []
    assert without_values(drift_of_phases(run, ["w1", "displacement"], phases=["train"])) == ["displacement"]


def test_how_far_medians_went(tmp_path):
    values = np.random.default_rng(5).normal(size=(3, 400))
    spread = [values * 1, values * 2 + np.array([[1.0], [5.0], [3.0]])]
    run = StoredRun(write_run(tmp_path / "run", [{("train", "a"): distribution(one)} for one in spread]))
    wandered, first, last = wandering(run, "a")
    medians = [np.median(one, axis=1) for one in spread]
    assert wandered == pytest.approx(np.median(np.abs(medians[1] - medians[0])), rel=0.05)
    assert (first, last) == pytest.approx([np.median(one.std(axis=1)) for one in spread], rel=1e-4)


def test_the_typical_unit_is_the_middle_one(two_windows):
    run = StoredRun(two_windows)
    steps = run.steps(phase="train", sites=["fc1"])
    ranges = steps.groupby("unit")["q50"].agg(lambda median: median.max() - median.min()).sort_values()
    found = typical_unit(run, "fc1")
    assert set(found["unit"]) == {ranges.index[len(ranges) // 2]}
    assert isinstance(found, pd.DataFrame)
    assert len(found) == steps["step"].nunique()
