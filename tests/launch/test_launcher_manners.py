"""How `icshift run` behaves: as Python does with the script, and in one line about its own mistakes."""

import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

import icshift
from tests.bounded import limited
from tests.launch.launching import RECORDER, SCRIPTS, ended, icshift_run, run, start, torchrun

COMMAND = Path(sys.executable).with_name("icshift")


def traceback(stderr):
    """Files, functions and lines of code of the last traceback, and its message."""
    return stderr[stderr.rindex("Traceback (most recent call last)") :]


def assert_one_line(done, *words):
    """The command told of a mistake of its user, and nothing else happened."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("icshift: ")
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.some(1)
@pytest.mark.parametrize("where", ["loop", "dataset", "forward"])
def test_a_crash_shows_the_scripts_frames_alone_and_keeps_the_recording(where, tmp_path):
    script = SCRIPTS / "crash.py"
    plainly, recorded = start(script, where), start(*RECORDER, "-o", tmp_path / "runs", script, where)
    plain, done = ended(plainly), ended(recorded)
    assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout) == (1, "epoch 0\nepoch 1\n")
    found = traceback(done.stderr)
    assert f"ValueError: bad sample in the {where} at step 13\n" in found
    files = re.findall(r'File "([^"]+)"', found)
    assert files[0] == str(script)
    assert not [file for file in files if "/icshift/" in file or "runpy" in file or "importlib" in file]
    if where != "forward":  # PyTorch calls a module with hooks on other lines.
        assert found.startswith(traceback(plain.stderr))
    kept = icshift.open(tmp_path / "runs" / "model")
    assert kept.finished
    assert [(w.first_step, w.last_step) for w in kept.window_list] == [(0, 9), (10, 12)]


@pytest.mark.usefixtures("interruptible")
def test_interrupted_it_keeps_the_recording(tmp_path):
    process = start(*RECORDER, "-o", tmp_path / "runs", SCRIPTS / "endless.py")
    with limited(process):
        while (line := process.stdout.readline()) and line != "epoch 3\n":
            pass
    process.send_signal(signal.SIGINT)
    done = ended(process)
    assert done.returncode in (130, -signal.SIGINT), done.stderr
    kept = icshift.open(tmp_path / "runs" / "model")
    assert kept.finished
    assert len(kept.window_list) >= 3
    assert (kept.windows().query("window <= 3")["count"] == 64).all()
    assert len(kept.drift())


def test_no_step_seen_is_said(tmp_path):
    done = icshift_run("-o", tmp_path / "runs", SCRIPTS / "no_optimizer.py")
    assert done.stdout == run(SCRIPTS / "no_optimizer.py").stdout
    assert "no optimizer step" in done.stderr.lower()
    assert "--forwards" in done.stderr


def test_parameters_that_no_module_holds_are_told_of_with_what_to_do(tmp_path):
    script = tmp_path / "tensors.py"
    script.write_text(
        "import torch\n"
        "w = torch.ones(3, requires_grad=True)\n"
        "optimizer = torch.optim.SGD([w], lr=0.1)\n"
        "for _ in range(2):\n"
        "    w.square().sum().backward()\n"
        "    optimizer.step()\n"
    )
    done = icshift_run("-o", tmp_path / "runs", script)
    assert "2 optimizer steps were seen" in done.stderr
    assert "hold them in an nn.Module as its parameters" in " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def existing(tmp_path_factory):
    """A folder with a run of four windows, of `no_loader.py`."""
    folder = tmp_path_factory.mktemp("existing") / "runs"
    icshift_run("-q", "-o", folder, "--window", "50", SCRIPTS / "no_loader.py")
    return folder


def test_an_existing_run_is_refused_before_the_script_starts(tmp_path, existing):
    shutil.copytree(existing, tmp_path / "runs")
    assert_one_line(icshift_run("-o", tmp_path / "runs", SCRIPTS / "no_loader.py"), str(tmp_path / "runs"), "-f")
    assert len(icshift.open(tmp_path / "runs" / "net").window_list) == 4


def test_force_replaces_runs(tmp_path, existing):
    shutil.copytree(existing, tmp_path / "runs")
    done = icshift_run("-f", "-o", tmp_path / "runs", "--window", "100", SCRIPTS / "no_loader.py")
    assert done.returncode == 0, done.stderr
    kept = icshift.open(tmp_path / "runs" / "net")
    assert kept.finished
    assert [(w.first_step, w.last_step) for w in kept.window_list] == [(0, 99), (100, 199)]


def test_where_no_loader_tells_of_epochs_there_are_10_to_20_windows(tmp_path):
    done = icshift_run("-o", tmp_path / "runs", SCRIPTS / "no_loader.py")
    assert "No DataLoader told of a second epoch" in done.stderr
    assert "13 of 8 to 16 steps" in done.stderr
    kept = icshift.open(tmp_path / "runs" / "net")
    assert kept.manifest["steps"] == 200
    assert [(w.first_step, w.last_step) for w in kept.window_list] == [(n, min(n + 15, 199)) for n in range(0, 200, 16)]


@pytest.mark.thorough
def test_force_replaces_nothing_but_runs(tmp_path):
    mine = tmp_path / "runs" / "net" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    icshift_run("-f", "-o", tmp_path / "runs", "--window", "100", SCRIPTS / "no_loader.py")
    assert mine.read_text() == "mine"


def test_mistakes_are_told_in_one_line(tmp_path):
    output = ("-o", tmp_path / "runs")
    assert_one_line(icshift_run(*output, "nosuch.py", cwd=tmp_path), "nosuch.py")
    assert_one_line(icshift_run(*output, "-m", "nosuch.module", cwd=tmp_path), "nosuch")
    assert_one_line(icshift_run(*output, cwd=tmp_path))
    assert not (tmp_path / "runs").exists()


@pytest.mark.some(2)
@pytest.mark.parametrize("samples", ["1", "0", "-3", "few", ""])
def test_samples_are_checked_before_the_script_starts(samples, tmp_path):
    done = icshift_run("-o", tmp_path / "runs", f"--samples={samples}", SCRIPTS / "no_loader.py")
    assert_one_line(done, "--samples", "a number from 2, or all", repr(samples))
    assert not (tmp_path / "runs").exists()


@pytest.mark.some(1)
@pytest.mark.parametrize(("option", "value"), [("-o", ""), ("-o", " "), ("--sites", "")])
def test_empty_options_are_refused_before_the_script_starts(option, value, tmp_path):
    done = icshift_run(option, value, SCRIPTS / "no_loader.py", cwd=tmp_path)
    assert_one_line(done, "it is empty")
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_made_is_refused_before_the_script_starts(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = icshift_run("-o", tmp_path / "file" / "runs", SCRIPTS / "no_loader.py")
    assert_one_line(done, str(tmp_path / "file" / "runs"), "choose another")
    assert (tmp_path / "file").read_text() == "mine"


def test_where_nothing_is_recorded_no_directory_is_left(tmp_path):
    script = tmp_path / "plain.py"
    script.write_text("print('no training here')\n")
    assert icshift_run("-o", tmp_path / "new" / "runs", script).returncode == 0
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine").mkdir()
    assert icshift_run("-o", tmp_path / "mine", script).returncode == 0
    assert (tmp_path / "mine").is_dir()


def test_options_after_the_script_are_the_scripts(tmp_path):
    arguments = ("argparse_main.py", "--lr", "0.1", "-q", "--help")
    done = icshift_run("-o", tmp_path / "runs", *arguments, cwd=SCRIPTS)
    plain = run(*arguments, cwd=SCRIPTS)
    assert done.stdout == plain.stdout
    assert "Trains a small convolutional network." in done.stdout


@pytest.mark.parametrize(
    ("command", "target"),
    [(("run",), ("facts.py",)), pytest.param(RECORDER, ("-m", "facts"), marks=pytest.mark.thorough)],
)
def test_the_script_sees_what_it_would_see_without(command, target, tmp_path):
    """One is of new interpreters, one of forks."""
    arguments = (*target, "--lr", "0.1", "-q", "-m", "-o", "x", "--", "-f")
    python, program = (None, None) if command == RECORDER else (sys.executable, COMMAND)
    plain = start(*arguments, cwd=SCRIPTS, program=python)
    recorded = start(*command, "-o", tmp_path / "runs", *arguments, cwd=SCRIPTS, program=program)
    plain, done = ended(plain), ended(recorded)
    assert done.stdout == plain.stdout, done.stderr
    assert '"--lr"' in plain.stdout
    assert "at exit Point(x=4)" in plain.stdout
    # The summary goes to stderr.
    assert "model" in done.stderr
    assert str(tmp_path / "runs") in done.stderr.replace("\n", "")


@pytest.mark.thorough
def test_a_script_with_a_syntax_error_fails_as_in_python(tmp_path):
    script = tmp_path / "wrong.py"
    script.write_text("print('never')\nepochs = = 3\n")
    plain, done = run(script), icshift_run("-o", tmp_path / "runs", script)
    assert (done.returncode, done.stdout) == (plain.returncode, "") == (1, "")
    assert plain.stderr in done.stderr
    assert "runpy" not in done.stderr


def test_a_script_that_exits_with_a_message(tmp_path):
    script = tmp_path / "message.py"
    script.write_text("import sys\nsys.exit('no data')\n")
    done = icshift_run("-o", tmp_path / "runs", script)
    assert done.returncode == 1
    assert "no data\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_output_is_where_it_was_asked_for_wherever_the_script_goes(tmp_path):
    script = tmp_path / "moves.py"
    script.write_text(f"import os\nos.chdir({str(tmp_path.parent)!r})\n" + (SCRIPTS / "exit_code.py").read_text())
    done = icshift_run("-q", "-o", "runs", script, cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert icshift.open(tmp_path / "runs" / "net").finished


def test_a_forked_child_tells_nothing(tmp_path):
    done = icshift_run("-o", tmp_path / "runs", SCRIPTS / "forking.py")
    assert done.stdout == run(SCRIPTS / "forking.py").stdout
    assert done.stderr.count("Recorded in") == 1, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_quiet_says_nothing(tmp_path):
    script = SCRIPTS / "exit_code.py"
    assert icshift_run("-q", "-o", tmp_path / "runs", script).stderr == run(script).stderr == ""


@pytest.mark.thorough
def test_all_ranks_refuse_and_all_ranks_replace(tmp_path):
    runs = tmp_path / "runs"
    first = ended(torchrun(2, *RECORDER, "-q", "-o", runs, SCRIPTS / "ddp.py"))
    created = icshift.open(runs / "net").manifest["created"]
    refused = ended(torchrun(2, *RECORDER, "-o", runs, SCRIPTS / "ddp.py"))
    assert refused.returncode != 0
    assert first.stdout
    assert refused.stdout == ""
    assert "icshift: " in refused.stderr
    assert icshift.open(runs / "net").manifest["created"] == created
    replaced = ended(torchrun(2, *RECORDER, "-f", "-o", runs, "--window", "15", SCRIPTS / "ddp.py"))
    assert replaced.stdout == first.stdout, replaced.stderr
    kept = icshift.open(runs / "net")
    assert kept.finished
    counts = kept.windows().query("phase == 'train'").groupby("window")["count"].unique()
    assert [found.tolist() for found in counts] == [[480], [480]]
