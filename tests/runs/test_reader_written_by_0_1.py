"""A run that an earlier version wrote is read to the same numbers that this version gave of it.

`written_by_0_1/run` was recorded before columns, folders and modules got the names that they have now, and
`written_by_0_1/expected` holds what was then read from it: nine digits of every number.
"""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import icshift
from icshift.runs.format import FORMAT, SMOOTHNESS, SMOOTHNESS_IN_FORMAT_1
from icshift.runs.frames import FILED
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording

HERE = Path(__file__).parent / "written_by_0_1"
WRITTEN = HERE / "run"
METRICS = ["w1_sd", "w1", "ks", "displacement", "cka_distance"]


@pytest.fixture(scope="module")
def run():
    return icshift.open(WRITTEN)


def assert_as_expected(table, name, without=(), since=()):
    """Columns that came since then are at the end."""
    expected = pd.read_csv(HERE / "expected" / f"{name}.csv", keep_default_na=False, na_values=[""])
    expected = expected.rename(columns=FILED)
    assert list(table.columns) == [*expected.columns, *since]
    for column in expected.columns.difference(list(without), sort=False):
        kind = str if table[column].dtype.kind not in "iufb" else expected[column].dtype
        pd.testing.assert_series_equal(table[column].astype(kind), expected[column].astype(kind), rtol=1e-8, atol=1e-12)


def test_it_opens_with_its_sites_windows_and_phases(run):
    assert run.finished
    assert run.phases == ["train", "eval", "probe", "probe-train"]
    assert [(site.name, site.type, site.units) for site in run.sites] == [
        ("fc1", "Linear", 3),
        ("norm1", "BatchNorm1d", 3),
        ("fc2", "Linear", 2),
    ]
    norm = run.site("norm1")
    assert (norm.normalises, norm.batch_statistics, norm.feeds, norm.follows) == (True, True, ("ReLU",), "fc1")
    assert [(window.name, window.first_step, window.last_step) for window in run.window_list] == [
        ("1", 0, 2),
        ("2", 3, 5),
        ("3", 6, 8),
    ]
    assert run.window(2).parameter_change == pytest.approx(0.163651199)


def test_its_windows_are_the_same(run):
    assert_as_expected(run.windows(), "windows")


def test_its_steps_are_the_same(run):
    by_name = run.steps().astype({"site": str})  # Sites were sorted by name then, not in model order.
    assert_as_expected(by_name.sort_values(["phase", "site", "step", "unit"], ignore_index=True), "steps")


def test_its_drift_is_the_same(run):
    """The metrics by example take the activations of the probe in the order of its examples.

    Noise is not: it was taken from every second step, and is given no longer.
    """
    drift = pd.concat([run.drift(phase=phase, metric=METRICS) for phase in run.phases], ignore_index=True)
    assert_as_expected(drift, "drift", without=["floor", "ratio", "moved"], since=["activations"])
    key = ["phase", "site", "unit", "window"]
    both = drift.merge(run.windows(), on=key, validate="many_to_one")
    assert len(both) > 100
    assert (both["activations"] == both["count"] + both["nonfinite"]).all()
    stream = drift[~drift["phase"].str.startswith("probe")]
    assert stream[["floor", "ratio", "moved"]].isna().all(axis=None)
    assert drift.query("phase == 'probe' and metric == 'displacement'")["value"].notna().all()


def test_its_gradient_shift_is_the_same(run):
    found = run.gradient_shift()
    assert_as_expected(found.drop(columns="relative"), "gradient_shift")
    pd.testing.assert_series_equal(found["relative"], found["l2"] / found["norm"], check_names=False)


def test_what_lies_along_the_gradient_is_the_same(run):
    """The folder is called `landscape` in this run, whatever the table is called since."""
    assert_as_expected(run.smoothness(), "landscape")


# It was written in format 1, before the measurement along the gradient got its name


def test_smoothness_is_read_from_the_folder_that_it_had():
    folder = WRITTEN / SMOOTHNESS_IN_FORMAT_1
    written = pd.concat([pd.read_parquet(file) for file in sorted(folder.iterdir())], ignore_index=True)
    assert written["step"].tolist() == [0, 2, 4, 6, 8]
    pd.testing.assert_frame_equal(StoredRun(WRITTEN).smoothness(), written)


def test_how_it_was_measured_is_read_under_its_name_now():
    measured = StoredRun(WRITTEN).manifest["measured"]
    assert measured.keys() == {"gradient_shift", SMOOTHNESS}
    assert measured[SMOOTHNESS]["every"] == 2


@pytest.mark.parametrize("measured", [None, {}, {"gradient_shift": {"every": 2}}])
def test_a_run_in_which_it_was_not_measured(tmp_path, measured):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN, run)
    shutil.rmtree(run / SMOOTHNESS_IN_FORMAT_1)
    manifest = json.loads((run / "run.json").read_text()) | {"measured": measured}
    (run / "run.json").write_text(json.dumps(manifest))
    assert StoredRun(run).smoothness().empty
    assert StoredRun(run).manifest["measured"] == measured


def test_a_run_that_replaces_it_leaves_nothing_of_it(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN, run)
    Recording(run, {"sites": []}, force=True)
    assert StoredRun(run).manifest["format"] == FORMAT
    assert StoredRun(run).smoothness().empty
    assert [file for file in run.rglob("*") if file.is_file()] == [run / "run.json"]
