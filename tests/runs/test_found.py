"""Which runs are found below a directory."""

import json

import pytest

from icshift.errors import RunError
from icshift.runs.found import runs_below


def run(path):
    path.mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"format": 3}))


def test_runs_at_any_depth_in_order(tmp_path):
    for name in ("b", "a/seed 1", "a/seed 0", "a/seed 0/process-7/train", ".hidden/run"):
        run(tmp_path / name)
    (tmp_path / "a/seed 0/windows").mkdir()
    run(tmp_path / "a/seed 0/windows/no run")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('{"format": "x"}')
    found = [str(path.relative_to(tmp_path)) for path in runs_below(tmp_path)]
    assert found == ["a/seed 0", "a/seed 0/process-7/train", "a/seed 1", "b"]
    assert runs_below(tmp_path / "b") == [tmp_path / "b"]


def test_where_there_is_none(tmp_path):
    with pytest.raises(RunError, match="no run in"):
        runs_below(tmp_path)
    with pytest.raises(RunError, match="no such directory"):
        runs_below(tmp_path / "nowhere")
