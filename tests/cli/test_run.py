"""`icshift run` as a user meets it; what it records is tested in `tests/launch/`."""

import os
import shlex
import subprocess
import sys

import pytest

from icshift.cli.main import _run
from icshift.runs.reader import StoredRun
from tests.warm.starting import icshift as program

pytestmark = pytest.mark.usefixtures("bound")

TRAINING = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(6):
    model(torch.randn(5, 3)).sum().backward()
    optimizer.step()
print("trained")
"""


@pytest.fixture
def icshift_run(tmp_path):
    """Runs a script under the command, in a process of its own."""

    def run(script, *options, command=None):
        (tmp_path / "train.py").write_text(script)
        environment = {**os.environ, "COLUMNS": "80", "PYTHONPATH": os.getcwd()}  # noqa: PTH109
        arguments = [*(command or [program()]), "run", *options, "train.py"]
        return subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_it_tells_what_it_recorded_on_stderr(icshift_run, tmp_path, monkeypatch):
    done = icshift_run(TRAINING, "--window", "3")
    assert (done.returncode, done.stdout) == (0, "trained\n")
    lines = [line.rstrip() for line in done.stderr.splitlines()]
    assert lines[0] == "Recorded in icshift-runs/train"
    row = next(line.split() for line in lines if line.strip().startswith("model"))
    assert lines[-1] == "Next: icshift report icshift-runs/train/model"
    monkeypatch.chdir(tmp_path)
    assert _run(shlex.split(lines[-1])[2:]) == 0
    assert any("2 of 3 steps" in line for line in lines), row
    assert len(StoredRun(tmp_path / "icshift-runs" / "train" / "model").window_list) == 2


def test_a_budget_thins_steps_and_says_so(icshift_run, tmp_path, capsys):
    done = icshift_run(TRAINING.replace("range(6)", "range(400)"), "--window", "200", "--overhead", "0.0001%")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "model: Steps thinned to keep recording under 0.0001 %: from step 33 on one in " in told
    path = tmp_path / "icshift-runs" / "train" / "model"
    run = StoredRun(path)
    assert run.manifest["settings"]["overhead_budget"] == 1e-6
    assert run.window_list[0].left_out > 0
    for arguments in (["info"], ["report"], ["onset"]):
        assert _run([*arguments, str(path)]) == 0
        assert "Steps thinned to keep recording under 0.0001 %" in " ".join(capsys.readouterr().out.split())
    assert _run(["report", str(path), "-o", str(tmp_path / "page.html")]) == 0
    assert "Steps thinned to keep recording" in (tmp_path / "page.html").read_text()


@pytest.mark.some(3)
@pytest.mark.parametrize("share", ["0", "-1%", "abc", "5", "500%", "100%", "nan", ""])
def test_a_budget_that_is_no_share_is_refused_in_one_line(icshift_run, share):
    done = icshift_run(TRAINING, "--overhead", share)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected a share above 0 % and below 100 %, as 3% or 0.03" in " ".join(done.stderr.split())


def test_a_budget_is_refused_where_several_processes_train(icshift_run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = icshift_run(TRAINING, "--overhead", "3%")
    assert (done.returncode, done.stdout) == (2, "")
    assert "overhead is for trainings of one process, and this one has 2" in " ".join(done.stderr.split())


def test_quiet_says_nothing(icshift_run):
    assert icshift_run(TRAINING, "--window", "3", "-q").stderr == ""


def test_a_script_without_torch_leaves_a_line_and_no_directory(icshift_run, tmp_path):
    """An interpreter of its own: forks have torch already."""
    done = icshift_run("print('done')", command=[sys.executable, "-m", "icshift"])
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert done.stderr == "icshift: nothing was recorded: the script did not import torch\n"
    assert not (tmp_path / "icshift-runs" / "train").exists()


def test_the_exit_code_is_the_scripts(icshift_run):
    assert icshift_run("raise SystemExit(3)").returncode == 3


INTERRUPTED = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("way", [["-m", "icshift"], ["-c", "from icshift.cli.main import main; main()"]])
@pytest.mark.parametrize(
    "script",
    [
        INTERRUPTED,
        TRAINING + INTERRUPTED,
        "import atexit\natexit.register(lambda: exec('1'))\n" + INTERRUPTED,
        "class Own(KeyboardInterrupt): ...\nraise Own",
        "raise SystemExit(-2)",
    ],
    ids=["interrupted", "training interrupted", "code at exit", "another class", "a code like a signal"],
)
def test_an_interrupted_script_ends_as_in_plain_python(script, way, icshift_run, tmp_path):
    """Interpreters of their own: what a signal does to a process is told by its parent alone."""
    done = icshift_run(script, "-q", command=[sys.executable, *way])
    plain = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == plain.returncode, done.stderr
    assert [line.strip() for line in plain.stderr.splitlines() if "^" not in line][-1:] == (
        [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("icshift: ")][-1:]
    )
    if script.startswith(TRAINING):
        (run,) = (tmp_path / "icshift-runs" / "train").iterdir()
        assert StoredRun(run).manifest["interrupted"]["by"] == "KeyboardInterrupt"
