"""A run that was written in format 1, before the measurement along the gradient got its name, stays readable."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from icshift.runs.format import FORMAT, SMOOTHNESS, SMOOTHNESS_IN_FORMAT_1
from icshift.runs.reader import Run
from icshift.runs.writer import Recording

WRITTEN = Path(__file__).parent / "written_by_0_1" / "run"


def test_smoothness_is_read_from_the_folder_that_it_had():
    folder = WRITTEN / SMOOTHNESS_IN_FORMAT_1
    written = pd.concat([pd.read_parquet(file) for file in sorted(folder.iterdir())], ignore_index=True)
    assert written["step"].tolist() == [0, 2, 4, 6, 8]
    pd.testing.assert_frame_equal(Run(WRITTEN).smoothness(), written)


def test_how_it_was_measured_is_read_under_its_name_now():
    measured = Run(WRITTEN).manifest["measured"]
    assert measured.keys() == {"gradient_shift", SMOOTHNESS}
    assert measured[SMOOTHNESS]["every"] == 2


@pytest.mark.parametrize("measured", [None, {}, {"gradient_shift": {"every": 2}}, "damaged"])
def test_a_run_in_which_it_was_not_measured(tmp_path, measured):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN, run)
    shutil.rmtree(run / SMOOTHNESS_IN_FORMAT_1)
    manifest = json.loads((run / "run.json").read_text()) | {"measured": measured}
    (run / "run.json").write_text(json.dumps(manifest))
    assert Run(run).smoothness().empty
    assert Run(run).manifest["measured"] == measured


def test_a_run_that_replaces_it_leaves_nothing_of_it(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN, run)
    Recording(run, {"sites": []}, force=True)
    assert Run(run).manifest["format"] == FORMAT
    assert Run(run).smoothness().empty
    assert [file for file in run.rglob("*") if file.is_file()] == [run / "run.json"]
