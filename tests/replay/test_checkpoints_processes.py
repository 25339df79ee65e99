"""Several processes share out the models, or the data of each; what they record together is what one records."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from icshift.analysis.drift import drift
from icshift.runs.reader import StoredRun
from tests.replay import network
from tests.replay.conftest import SPEC
from tests.warm.starting import python


def table(run):
    return drift(run, metrics=("w1", "w1_sd")).drop(columns="run")


@pytest.fixture
def alone(analyzed, saved, tmp_path):
    return analyzed(saved, output=tmp_path / "alone")


def test_torchrun(saved, data, alone, tmp_path):
    path = tmp_path / "together"
    launcher = [python(), "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command = ["analyze", saved, "--model", SPEC + "Digits", "--data", data, "-o", path, "--batch-size", "100"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHON_EXEC": python()}
    done = subprocess.run(
        list(map(str, [*launcher, "-m", "icshift", *command])),
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        timeout=600,
    )
    run = StoredRun(path)
    assert run.finished
    assert run.ranks == 2
    assert sorted(file.name for file in (path / "windows").iterdir()) == [
        "000001.rank0.parquet",
        "000002.rank1.parquet",
        "000003.rank0.parquet",
        "000004.rank1.parquet",
    ]
    pd.testing.assert_frame_equal(table(run), table(alone), check_exact=True)
    pd.testing.assert_frame_equal(run.windows(), alone.windows(), check_exact=True)
    # One report, of the whole run.
    assert done.stdout.count("window epoch 3 against epoch 2\n") == 1
    assert "unfinished" not in done.stdout


LATE = """
import os, time
from pathlib import Path
from icshift.cli.main import main

def ended(manifest):
    try:
        return manifest.stat().st_mtime_ns > int(os.environ["BEGAN"]) and '"finished": true' in manifest.read_text()
    except FileNotFoundError:  # It is deleted before it is made anew.
        return False

if os.environ["RANK"] == "0":
    while not ended(Path(os.environ["RUN"], "run.rank1.json")):
        time.sleep(0.1)
    time.sleep(2)
main()
"""


@pytest.mark.some(1)
@pytest.mark.parametrize("option", ["--resume", "--force"])
def test_the_first_process_may_begin_long_after_another_ended(option, as_rank, saved, data, tmp_path):
    """As on a machine that is slow to import: it would wait for ever for what has been written before it began.

    Real interpreters are children of torchrun, which the forks of the tests are not.
    """
    path, late = tmp_path / "run", tmp_path / "late.py"
    late.write_text(LATE)
    as_rank(1)
    as_rank(0)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command = ["analyze", saved, "--model", SPEC + "Digits", "--data", data, "-o", path, "--batch-size", "100", option]
    done = subprocess.run(
        list(map(str, [*launcher, late, *command])),
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "80",
            "RUN": str(path),
            "BEGAN": str(time.time_ns()),
            "PYTHONPATH": str(Path.cwd()),
        },
        timeout=90,
    )
    assert StoredRun(path).finished
    assert done.stdout.count("window epoch 3 against epoch 2\n") == 1


def test_the_last_process_reports(as_rank, alone, tmp_path):
    assert as_rank(1) == (0, "", "")
    code, out, _ = as_rank(0)
    assert code == 0
    assert "window epoch 3 against epoch 2\n" in out
    pd.testing.assert_frame_equal(table(StoredRun(tmp_path / "run")), table(alone), check_exact=True)


def test_the_first_process_waits(as_rank, alone, tmp_path, monkeypatch):
    """Also for what another process has from a run before, and will replace or go on with."""
    path = tmp_path / "run"
    as_rank(1)
    as_rank(0)
    for options in (["--resume"], ["--force"], ["--force", "--train-mode"]):
        for file in path.rglob("*"):
            os.utime(file, (1, 1))
        naps = []

        def other(_, naps=naps, options=options):
            naps.append(as_rank(1, options=options)[0])

        with monkeypatch.context() as patched:
            patched.setattr("icshift.cli.analyze.time.sleep", other)
            code, out, _ = as_rank(0, options=options)
        assert (code, naps) == (0, [0])
        assert "unfinished" not in out
        pd.testing.assert_frame_equal(table(StoredRun(path)), table(alone), check_exact=True)
        assert StoredRun(path).phases == ["probe", "probe-batch"][: len(options)]


def test_processes_go_on_with_what_they_have(as_rank, alone, tmp_path):
    path = tmp_path / "run"
    as_rank(1)
    as_rank(0)
    for name in ("000001.rank0.parquet", "000004.rank1.parquet"):
        (path / "windows" / name).unlink()
    before = (path / "windows" / "000003.rank0.parquet").stat().st_mtime_ns
    assert as_rank(1, options=["--resume"])[0] == 0
    assert as_rank(0, options=["--resume"])[0] == 0
    assert (path / "windows" / "000003.rank0.parquet").stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(table(StoredRun(path)), table(alone), check_exact=True)


@pytest.mark.thorough
def test_more_models_for_processes_that_are_through(as_rank, analyzed, tmp_path):
    folder = network.save_plain(tmp_path / "saved", models=2)
    for models in (2, 3, 5):
        network.save_plain(folder, models=models)
        for rank in (1, 0):
            assert as_rank(rank, models=folder, options=["--resume"])[0] == 0
    alone = analyzed(folder, output=tmp_path / "alone")
    run = StoredRun(tmp_path / "run")
    assert run.finished
    pd.testing.assert_frame_equal(run.windows(), alone.windows(), check_exact=True)


@pytest.mark.thorough
def test_resumed_where_the_first_process_had_written_nothing(as_rank, alone, tmp_path):
    as_rank(1)
    assert as_rank(1)[0] == 2
    assert as_rank(1, options=["--resume"])[0] == 0
    assert as_rank(0, options=["--resume"])[0] == 0
    pd.testing.assert_frame_equal(table(StoredRun(tmp_path / "run")), table(alone), check_exact=True)


def test_a_mistake_is_found_by_every_process(as_rank, tmp_path):
    (tmp_path / "flat.csv").write_text("a,b\n1,2\n")
    for rank in (0, 1):
        code, _, err = as_rank(rank, inputs=tmp_path / "flat.csv")
        assert (code, err.count("\n")) == (2, 1)
    code, _, err = as_rank(4, ranks=9, options=["--batch-size", "50"])
    assert code == 2
    assert err.startswith("icshift: 9 processes for ")
    assert err.endswith("start at most as many processes, or take smaller batches (--batch-size)\n")
    assert not (tmp_path / "run").exists()
