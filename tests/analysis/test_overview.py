"""A row a run: what of it is metadata, and that its drift is that of the report."""

import json

import numpy as np
import pandas as pd
import pytest

import icshift
from icshift.analysis.overview import COLUMNS, overview


def test_the_drift_is_that_of_the_report(with_batch_norm, one_window):
    table = overview([with_batch_norm, one_window])
    assert list(table.columns) == list(COLUMNS)
    assert table["run"].tolist() == [str(with_batch_norm), str(one_window)]
    row, report = table.loc[0], icshift.open(with_batch_norm).report()
    furthest = report.loc[report["drift"].idxmax()]
    assert row["site"] == furthest["site"]
    for name in ("drift", "floor", "ratio", "error", "n"):
        assert row[name] == pytest.approx(furthest[name])
    assert (row["windows"], row["sites"], row["state"], row["phase"]) == (4, 3, "finished", "train")
    assert np.isnan(table.loc[1, "drift"])
    assert table.loc[1, "windows"] == 1


def test_only_the_last_two_windows_are_read(with_batch_norm, monkeypatch):
    read = []
    of = icshift.Run._of
    monkeypatch.setattr("icshift.runs.reader.StoredRun._of", lambda run, index: read.append(index) or of(run, index))
    overview([with_batch_norm])
    assert set(read) == {3, 4}
    read.clear()
    overview([with_batch_norm], drift=False)
    assert not read


def test_runs_that_did_not_finish_and_that_cannot_be_read(tmp_path, two_windows):
    states = []
    for name, change in (
        ("a", {"finished": False}),
        ("b", {"finished": False, "stopped": {"reason": "disk full", "step": 7, "time": ""}}),
        ("c", {"format": 99}),
        ("d", {"interrupted": {"by": "KeyboardInterrupt", "step": 9, "time": ""}, "steps": 1234}),
        ("e", {"gaps": [{"first_step": 3, "last_step": 4, "reason": "disk full"}]}),
    ):
        manifest = json.loads((two_windows / "run.json").read_text()) | change
        manifest.pop("checksum", None)
        (tmp_path / name).mkdir()
        (tmp_path / name / "windows").symlink_to(two_windows / "windows")
        (tmp_path / name / "run.json").write_text(json.dumps(manifest))
        row = overview([tmp_path / name], drift=False).iloc[0]
        states.append(row["state"])
        assert row["steps"] is pd.NA or row["steps"] == manifest["steps"], "those that info tells"
    assert states[3].startswith("ended by KeyboardInterrupt")
    assert states[4].startswith("2 steps not recorded")
    assert states[0] == "unfinished"
    assert states[1] == "stopped at step 7: disk full"
    assert states[2].startswith("cannot be read: ")
    assert "format 99" in states[2]
