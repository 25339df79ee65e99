"""What the processes train that a script starts is recorded too."""

import sys

import pytest

import icshift
from tests.launch.launching import SCRIPTS, icshift_run, run


@pytest.mark.some(1)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_with_trainings_of_their_own_have_runs_of_their_own(method, tmp_path):
    done = icshift_run("-o", tmp_path / "runs", "--window", "5", SCRIPTS / "hogwild.py", method)
    assert done.stdout == "ok [0, 0]\n", done.stderr
    assert "no optimizer step" not in done.stderr
    for process in ("process-1", "process-2"):
        kept = icshift.open(tmp_path / "runs" / process / "model")
        assert kept.finished
        assert kept.manifest["steps"] == 20
        assert f"{process}/model" in done.stderr


@pytest.mark.parametrize(
    "program", [None, pytest.param(sys.executable, marks=pytest.mark.thorough)], ids=["fork", "new"]
)
def test_ranks_that_a_script_starts_are_one_run(program, tmp_path):
    """As forks, or all of them in new interpreters."""
    done = icshift_run("-o", tmp_path / "runs", "--window", "5", SCRIPTS / "spawned.py", program=program)
    assert done.stdout == "ok\n", done.stderr
    kept = icshift.open(tmp_path / "runs" / "model")
    assert (kept.finished, kept.ranks) == (True, 2)
    assert set(kept.windows()["count"]) == {80}


def test_children_see_what_they_would_see_without(tmp_path):
    script = tmp_path / "parent.py"
    asked = "import sys; print(sys.path, sys.argv, sorted(sys.modules) == sorted(sys.modules))"
    script.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {asked!r}], check=True)\n")
    plain = run(script, program=sys.executable)
    done = icshift_run("-o", tmp_path / "runs", script, program=sys.executable)
    assert done.stdout == plain.stdout
    assert "start `python -m icshift run SCRIPT`" in done.stderr
