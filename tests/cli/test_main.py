"""The command line as a whole: exit codes, one line for a mistake, and what a process of its own does."""

import os
import re
import subprocess
import sys

import pytest
import typer

from icshift import __version__
from icshift.cli import main as module
from icshift.cli.main import _run, main
from icshift.errors import RunError

COMMANDS = ["run", "demo", "info", "report", "units", "path", "export", "check", "analyze", "shift", "landscape"]


def process(*arguments, **environment):
    command = [sys.executable, "-m", "icshift", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_names_every_command(arguments, printed):
    text = printed(*arguments)
    for name in [*COMMANDS, "selfcheck"]:
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name


@pytest.mark.parametrize("name", [*COMMANDS, "selfcheck"])
def test_every_command_has_help(name, printed):
    text = printed(name, "--help")
    assert f"icshift {name}" in text
    assert "--quiet" in text or name == "info"


def test_the_version(printed):
    assert printed("--version") == f"icshift {__version__}\n"


@pytest.mark.parametrize(("arguments", "expected"), [(["reprot", "RUN"], "reprot"), (["--colour"], "--colour")])
def test_a_mistake_is_one_line(arguments, expected, refused):
    assert expected in refused(*arguments)


def raising(error):
    """A command line of one command, which raises that."""
    app = typer.Typer()

    def fail():
        raise error

    app.command()(fail)
    app.callback()(lambda: None)
    return app


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RunError("two\nlines"), 2, "icshift: two lines\n"),
        (typer.BadParameter("wrong"), 2, "icshift: Invalid value: wrong\n"),
        (KeyboardInterrupt(), 130, ""),  # Typer ends by itself.
        (typer.Abort(), 130, "icshift: interrupted\n"),
        (typer.Exit(1), 1, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_how_a_command_ends_is_its_exit_code(error, code, said, monkeypatch, capsys):
    monkeypatch.setattr(module, "app", raising(error))
    assert _run(["fail"]) == code
    assert capsys.readouterr().err == said


def test_an_error_of_icshift_itself_is_not_hidden(monkeypatch):
    monkeypatch.setattr(module, "app", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        _run(["fail"])


def test_main_leaves_with_the_code(capsys):
    for arguments, code in ((["--version"], 0), (["report", "nowhere"], 2)):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert left.value.code == code
    assert capsys.readouterr().err == "icshift: no such run: nowhere\n"


# In a process of its own


def test_what_is_printed_there_is_what_is_printed_here(with_batch_norm, printed):
    done = process("report", with_batch_norm, COLUMNS="80", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed("report", with_batch_norm)


def test_a_mistake_there_is_one_line_too(tmp_path):
    done = process("report", tmp_path / "nowhere")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("icshift: no such run: ")


def test_a_pipe_that_closes_early_is_no_error(two_windows):
    command = f"{sys.executable} -m icshift export {two_windows} -o - | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("run,phase")


LONG = "x" * 300
"""Longer than any file system lets a name be."""


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", LONG],
        ["info", LONG],
        ["report", "RUN", "--reference", f"run:{LONG}"],
        ["export", "RUN", "-o", f"{LONG}.csv"],
        ["check", "RUN", "--fail-on", "w1_sd > 0", "--junit", LONG],
        ["run", "-o", LONG, "SCRIPT"],
        ["demo", "-o", LONG],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_path_that_no_file_can_have_is_a_mistake(arguments, two_windows, tmp_path, refused):
    (tmp_path / "script.py").write_text("raise AssertionError('it must not start')\n")
    given = {"RUN": str(two_windows), "SCRIPT": str(tmp_path / "script.py")}
    assert "File name too long" in refused(*(given.get(argument, argument) for argument in arguments))
