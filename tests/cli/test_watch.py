"""`icshift watch` beside a real recording, on a run that is over, on none, and how it ends."""

import json
import os
import re
import signal
import subprocess
from dataclasses import asdict

import pytest

from icshift.runs.format import Site, Window
from icshift.runs.reader import StoredRun
from icshift.runs.writer import Recording
from tests.recorded import of_zoo
from tests.warm.starting import icshift as program
from tests.warm.starting import python

pytestmark = pytest.mark.usefixtures("bound")

TRAINING = """
import sys
import torch
from pathlib import Path
from icshift.record.recorder import Recorder

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Recorder(model, Path("runs/a"), optimizer=optimizer) as recorder:
    for _ in range(3):
        for _ in range(5):
            optimizer.zero_grad()
            loss = model(torch.randn(20, 3)).square().mean()
            loss.backward()
            optimizer.step()
            recorder.log(loss=loss)
        recorder.epoch()
        print("epoch", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def environment():
    return {**os.environ, "COLUMNS": "80", "PYTHONPATH": os.getcwd()}  # noqa: PTH109


@pytest.fixture
def training(tmp_path, environment):
    """A training that waits for a line after every epoch."""
    (tmp_path / "train.py").write_text(TRAINING)
    process = subprocess.Popen(
        [python(), "train.py"], cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def watching(tmp_path, environment):
    """Starts the command beside it."""
    started = []

    def start(*arguments, **streams):
        command = [program(), "watch", *arguments, "--every", "0.05"]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **streams))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_windows_are_told_as_they_land_until_the_run_ends(training, watching, tmp_path):
    watch = watching("runs/a", "--wait", "--json")
    told = []
    for _ in range(3):
        assert training.stdout.readline() == "epoch\n"
        told.append(json.loads(watch.stdout.readline()))
        training.stdin.write("\n")
        training.stdin.flush()
    rest, err = watch.communicate(timeout=120)
    assert (watch.returncode, rest) == (0, "")
    assert err in ("", "icshift: runs/a: no run yet, waiting for it\n")
    assert training.wait(120) == 0
    run = StoredRun(tmp_path / "runs" / "a")
    assert [one["window"] for one in told] == [window.index for window in run.window_list] == [1, 2, 3]
    assert [one["logged"]["loss"]["n"] for one in told] == [5, 5, 5]
    assert [len(one["sites"]) for one in told] == [0, 2, 2]


def test_a_run_that_is_over_is_told_at_once(with_batch_norm, command):
    code, out, err = command("watch", with_batch_norm)
    assert (code, err) == (0, "")
    assert [line.split(":")[0] for line in out.splitlines()] == [
        f"window {index} (steps {10 * index - 10} to {10 * index - 1})" for index in range(1, 5)
    ]
    code, out, err = command("watch", with_batch_norm, "--wait", "--json", "--site", "fc*", "--metric", "ks")
    assert [len(json.loads(line)["sites"]) for line in out.splitlines()] == [0, 2, 2, 2]


def test_the_run_is_only_read(with_batch_norm, command):
    def stamps():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in [with_batch_norm, *with_batch_norm.rglob("*")]
        }

    before = stamps()
    assert command("watch", with_batch_norm)[0] == 0
    assert stamps() == before


@pytest.fixture
def unfinished(tmp_path):
    """A run whose process is gone, an hour ago."""
    site = Site("fc1", "Linear", axis=1, units=3)
    recording = Recording(tmp_path / "runs" / "a", {"sites": [asdict(site)], "model": "Net"})
    recording.write_window(Window(1, "1", 0, 9, True), {("train", site): of_zoo("normal", 100)})
    for path in recording.path.rglob("*"):
        os.utime(path, (1e9, 1e9))
    os.utime(recording.path / "run.json", (1e9 + 1, 1e9 + 1))
    return recording.path


def test_a_run_that_stopped_ends_with_its_process(unfinished, command):
    """Its process, of this machine, is there no more: the number is that of one which was started at another time."""
    manifest = json.loads((unfinished / "run.json").read_text())
    del manifest["checksum"]
    manifest["writer"]["started"] += 1
    manifest["stopped"] = {"reason": "disk full", "step": 9, "time": ""}
    (unfinished / "run.json").write_text(json.dumps(manifest))
    code, out, err = command("watch", unfinished)
    assert code == 0
    assert out.startswith("window 1 (steps 0 to 9)")
    assert "Recording stopped at step 9 (disk full)" in " ".join(err.split())


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_it_well(unfinished, watching):
    watch = watching(str(unfinished))
    assert watch.stdout.readline().startswith("window 1 (steps 0 to 9)")
    assert "no news for" in watch.stderr.readline()  # It goes on all the same, and says it once.
    watch.send_signal(signal.SIGINT)
    assert watch.communicate(timeout=120) == ("", "")
    assert watch.returncode == 0


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_it_while_there_is_no_run(watching, tmp_path):
    watch = watching("nowhere", "--wait")
    assert watch.stderr.readline() == "icshift: nowhere: no run yet, waiting for it\n"
    watch.send_signal(signal.SIGINT)
    assert watch.communicate(timeout=120) == ("", "")
    assert watch.returncode == 0
    assert not (tmp_path / "nowhere").exists()


def test_a_terminal_shows_where_it_stands(with_batch_norm, watching):
    ours, theirs = os.openpty()
    watch = watching(str(with_batch_norm), stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # The terminal is gone with its last program.
        pass
    os.close(ours)
    assert watch.wait(120) == 0
    text = " ".join(re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", shown.decode()).split())
    assert "4 windows, 40 steps, finished" in text
    assert "×floor" in text
    assert "norm1" in text


MISTAKES = {
    "no run": (["nowhere"], "no such run: nowhere"),
    "a metric that there is not": (["RUN", "--metric", "w9"], "no metric 'w9'"),
    "a site that there is not": (["RUN", "--site", "fc9"], "no site 'fc9'"),
    "too often": (["RUN", "--every", "0"], "Invalid value for '--every'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, two_windows, refused):
    arguments, expected = MISTAKES[mistake]
    assert expected in refused("watch", *[str(two_windows) if one == "RUN" else one for one in arguments])


def test_a_path_that_is_no_run_is_one_line_also_where_it_is_waited_for(tmp_path, refused):
    (tmp_path / "file").write_text("mine")
    assert "is no icshift run" in refused("watch", tmp_path / "file", "--wait")
    (tmp_path / "folder").mkdir()
    assert "is no icshift run" in refused("watch", tmp_path / "folder")
