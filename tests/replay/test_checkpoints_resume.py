"""A run that was interrupted goes on to what it would have been; what does not belong to it is refused."""

import json
import os
import shutil
import signal
import subprocess
import time

import pyarrow.parquet as pq
import pytest
import torch

from icshift.replay.checkpoints import CheckpointRun
from icshift.runs.reader import StoredRun
from tests.bounded import limited
from tests.recorded import change_manifest
from tests.replay import network
from tests.replay.conftest import SPEC
from tests.warm.starting import icshift

OPTIONS = ["--train-mode", "--running"]


def contents(path):
    """Every window as it lies on disk, and the manifests, but for the time and the process that wrote them."""
    found = {}
    for file in sorted((path / "windows").iterdir()):
        table = pq.read_table(file, partitioning=None)
        found[file.name] = table.to_pylist(), table.schema.metadata[b"icshift"]
    for file in sorted(path.glob("run*.json")):
        found[file.name] = {**json.loads(file.read_text()), **dict.fromkeys(("created", "id", "writer", "checksum"))}
    return found


@pytest.fixture
def whole(analyzed, saved, tmp_path):
    """What comes of it without an interruption."""
    return contents(analyzed(saved, output=tmp_path / "whole", options=OPTIONS).path)


@pytest.fixture
def stopped(analyze, saved, monkeypatch):
    """Interrupts the command in its third model."""

    def run(**options):
        replay = CheckpointRun._replay

        def interrupted(run, replayer, index):
            if index == 3:
                raise KeyboardInterrupt
            replay(run, replayer, index)

        with monkeypatch.context() as patched:
            patched.setattr(CheckpointRun, "_replay", interrupted)
            return analyze(saved, **{"options": OPTIONS, **options})

    return run


def test_an_interruption_leaves_what_is_recorded(stopped, tmp_path):
    code, out, err = stopped()
    assert (code, out) == (130, "")
    assert err.startswith(f"icshift: interrupted: {tmp_path / 'run'} keeps what is recorded, --resume goes on\n")
    run = StoredRun(tmp_path / "run")
    assert not run.finished
    assert [window.name for window in run.window_list] == ["epoch 0", "epoch 1"]
    assert len(run.distribution("probe", "fc1", 2).mean) == 12


def test_an_interruption_in_the_first_model_leaves_nothing(analyze, saved, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointRun, "_replay", interrupted)
    assert analyze(saved)[0] == 130
    assert not (tmp_path / "run").exists()


def test_resumed_is_uninterrupted(stopped, analyzed, saved, whole, monkeypatch):
    stopped()
    replayed = []
    replay = CheckpointRun._replay
    monkeypatch.setattr(CheckpointRun, "_replay", lambda run, *rest: (replayed.append(rest[1]), replay(run, *rest)))
    run = analyzed(saved, options=[*OPTIONS, "--resume"])
    assert replayed == [3, 4]
    assert contents(run.path) == whole
    # And once more, when there is nothing left to do.
    assert contents(analyzed(saved, options=[*OPTIONS, "--resume"]).path) == whole
    assert replayed == [3, 4]


@pytest.mark.thorough
def test_resumed_after_every_window(analyzed, saved, whole, tmp_path):
    """Whatever a killed process left: windows without the last manifest, a manifest without windows."""
    for kept in range(network.EPOCHS + 1):
        path = tmp_path / f"killed-{kept}"
        shutil.copytree(tmp_path / "whole", path)
        for window in range(kept + 1, network.EPOCHS + 1):
            (path / "windows" / f"{window:06d}.rank0.parquet").unlink()
        change_manifest(path / "run.json", finished=False)
        assert contents(analyzed(saved, output=path, options=[*OPTIONS, "--resume"]).path) == whole


def test_resume_begins_where_there_is_nothing(analyzed, saved, whole):
    assert contents(analyzed(saved, options=[*OPTIONS, "--resume"]).path) == whole


def test_models_that_come_later_are_appended(analyzed, tmp_path):
    folder = network.save_plain(tmp_path / "saved", models=2)
    analyzed(folder)
    network.save_plain(folder, models=4)
    run = analyzed(folder, options=["--resume"])
    assert [window.name for window in run.window_list] == [f"epoch {epoch}" for epoch in range(4)]
    assert run.finished
    at_once = analyzed(folder, output=tmp_path / "at once")
    assert contents(run.path) == contents(at_once.path)


@pytest.fixture
def recorded(analyzed, saved):
    return analyzed(saved, options=["--model-arg", "hidden=12"])


REFUSALS = {
    "fewer examples": ({"options": ["--limit", "299"]}, "another number of examples: 300, now 299"),
    "other batches": ({"options": ["--batch-size", "150"]}, "another number of batches: 3, now 2"),
    "other data": ({"inputs": SPEC + "shifted"}, "another fingerprint of its data: "),
    "doubles": ({"options": ["--dtype", "float64"]}, "another fingerprint of its data: "),
    "samples": ({"options": ["--samples", "all"]}, "another --samples: 1024, now all"),
    "sites": ({"options": ["--sites", "fc*"]}, "another --site: none, now fc*"),
    "phases": ({"options": ["--train-mode"]}, "another choice of phases: probe, now probe, probe-batch"),
    "arguments": ({"options": ["--model-arg", "hidden=0xc"]}, "another --model-arg: hidden=12, now hidden=0xc"),
    "class": ({"model": SPEC + "Slow"}, "another model: Digits, now Slow"),
}


def recorded_before(path):
    """Make a run what an older version would have written: it says nothing of how the probe normalised."""
    settings = json.loads((path / "run.json").read_text())["settings"]
    del settings["probe_statistics"]
    change_manifest(path / "run.json", settings=settings)


def test_a_run_whose_probe_is_by_running_averages_is_not_gone_on_with(recorded, analyze, saved):
    recorded_before(recorded.path)
    code, _, err = analyze(saved, options=["--resume", "--model-arg", "hidden=12"])
    assert (code, err.count("\n")) == (2, 1)
    assert "another kind of statistics for batch norm in the phase probe: running averages, now own inputs" in err


def test_an_older_run_of_a_model_without_batch_norm_is_gone_on_with(analyzed, tmp_path):
    (tmp_path / "saved").mkdir()
    for epoch in range(2):
        torch.save({"epoch": epoch, "model": torch.nn.Linear(8, 3).state_dict()}, tmp_path / f"saved/{epoch}.pt")
    given = {"model": "torch.nn:Linear", "inputs": SPEC + "images"}
    options = ["--model-arg", "in_features=8", "--model-arg", "out_features=3"]
    run = analyzed(tmp_path / "saved", options=options, **given)
    recorded_before(run.path)
    assert len(analyzed(tmp_path / "saved", options=[*options, "--resume"], **given).window_list) == 2


@pytest.mark.some(4)
@pytest.mark.parametrize("name", REFUSALS)
def test_what_differs_is_named(name, recorded, analyze, saved):
    given, told = REFUSALS[name]
    before = contents(recorded.path)
    arguments = [] if name == "arguments" else ["--model-arg", "hidden=12"]
    given = {**given, "options": ["--resume", *arguments, *given.get("options", [])]}
    code, out, err = analyze(saved, **given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert contents(recorded.path) == before


@pytest.mark.usefixtures("recorded")
def test_other_models_are_named(analyze, saved, tmp_path):
    options = ["--resume", "--model-arg", "hidden=12"]
    _, _, err = analyze(saved / "epoch-1.pt", saved / "epoch-2.pt", saved / "epoch-3.pt", options=options)
    assert "has epoch 0 as window 1, now epoch 1 comes there" in err
    _, _, err = analyze(saved / "epoch-0.pt", saved / "epoch-1.pt", options=options)
    assert "has epoch 2 as window 3, now none comes there" in err
    torch.save({"epoch": 1.5, "model": network.state(1)}, tmp_path / "between.pt")
    _, _, err = analyze(saved, tmp_path / "between.pt", options=options)
    assert err.count("\n") == 1


@pytest.mark.usefixtures("recorded")
def test_another_number_of_processes_is_refused(analyze, saved, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = analyze(saved, options=["--resume", "--model-arg", "hidden=12"])
    assert code == 2
    assert "another number of processes: 1, now 2" in err


def test_a_run_of_a_training_is_not_gone_on_with(with_batch_norm, analyze, saved):
    code, _, err = analyze(saved, output=with_batch_norm, options=["--resume"])
    assert (code, err.count("\n")) == (2, 1)
    assert "another model: Sequential, now Digits" in err


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c(saved, data, tmp_path, analyzed):
    """A real one, while a forward is under way."""
    path = tmp_path / "run"
    command = [
        icshift(),
        "analyze",
        saved,
        "--model",
        SPEC + "Slow",
        "--data",
        data,
        "-o",
        path,
        "--limit",
        "100",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True) as process,
        limited(process),
    ):
        while not (path / "windows" / "000001.rank0.parquet").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.startswith(f"icshift: interrupted: {path} keeps")
    assert "Traceback" not in err
    assert 1 <= len(StoredRun(path).window_list) < network.EPOCHS
    resumed = analyzed(saved, model=SPEC + "Slow", options=["--resume", "--limit", "100"])
    at_once = analyzed(saved, model=SPEC + "Slow", output=tmp_path / "at once", options=["--limit", "100"])
    assert contents(resumed.path) == contents(at_once.path)
