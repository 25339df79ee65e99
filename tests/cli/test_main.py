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
from icshift.kernel_choice import in_use
from tests.warm.starting import icshift

COMMANDS = ["run", "demo", "info", "report", "units", "path", "export", "check", "analyze", "shift", "landscape"]


ANEW = (sys.executable, "-m", "icshift")
"""What only an interpreter that starts decides is asked of one; all else of forks."""


def process(*arguments, program=None, cwd=None, **environment):
    command = [*(program or [icshift()]), *map(str, arguments)]
    whole = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=whole, check=False)


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
    assert printed("--version") == f"icshift {__version__}, kernel {in_use()}\n"


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
    done = process("report", with_batch_norm, program=ANEW, COLUMNS="80", NO_COLOR="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed("report", with_batch_norm)


def test_a_mistake_there_is_one_line_too(tmp_path):
    done = process("report", tmp_path / "nowhere")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("icshift: no such run: ")


@pytest.mark.some(3)
@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        *((encoding, ["report", "RUN"]) for encoding in ("ascii", "cp1252", "cp437")),
        *(("ascii", arguments) for arguments in (["onset", "RUN"], ["info", "--metrics"], ["run", "-h"])),
    ],
)
def test_other_encodings_get_ascii(encoding, arguments, two_windows):
    given = [str(two_windows) if argument == "RUN" else argument for argument in arguments]
    done = process(*given, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "?" not in done.stdout


@pytest.mark.thorough
def test_the_c_locale_by_name_gets_ascii(two_windows):
    done = process("report", two_windows, program=ANEW, LC_ALL="C")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "xfloor" in done.stdout
    assert "×floor" in process("report", two_windows, LC_ALL="C.UTF-8").stdout


@pytest.mark.some(2)
@pytest.mark.parametrize("arguments", ["report RUN", "report RUN --json", "export RUN -o -", "--help"])
def test_what_cannot_be_printed_is_one_line(arguments, two_windows):
    command = f"{icshift()} {arguments.replace('RUN', str(two_windows))}"
    full = subprocess.run(["bash", "-c", f"{command} >/dev/full"], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (2, "icshift: output: No space left on device\n")
    if arguments != "--help":
        closed = subprocess.run(["bash", "-c", f"{command} >&-"], capture_output=True, text=True, check=False)
        assert (closed.returncode, closed.stderr) == (2, "icshift: stdout is closed: there is nothing to print on\n")


@pytest.mark.some(1)
@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_a_mistake_has_its_exit_code_where_nobody_can_be_told(stderr, tmp_path):
    command = f"{icshift()} report {tmp_path / 'nowhere'} {stderr}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.some(2)
@pytest.mark.parametrize("arguments", ["report RUN", "report RUN --json", "export RUN -o -", "--help"])
def test_a_pipe_whose_reader_has_seen_enough_ends_well(arguments, two_windows):
    command = f"{icshift()} {arguments.replace('RUN', str(two_windows))} | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("bash", {"_ICSHIFT_COMPLETE": "complete_bash", "COMP_WORDS": "icshift rep", "COMP_CWORD": "1"}),
        ("zsh", {"_ICSHIFT_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "icshift rep"}),
        (
            "fish",
            {
                "_ICSHIFT_COMPLETE": "complete_fish",
                "_TYPER_COMPLETE_ARGS": "icshift rep",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_shells_complete_what_is_typed(shell, asked):
    assert "report" in process(**asked).stdout
    script = process(_ICSHIFT_COMPLETE=f"source_{shell}").stdout
    assert "_ICSHIFT_COMPLETE" in script


@pytest.mark.parametrize(("short", "long"), [("-h", "--help"), ("-V", "--version")])
def test_short_names(short, long, printed):
    assert printed(short) == printed(long)
    if short == "-h":
        assert printed("report", "-h") == printed("report", "--help")


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


COLLECTOR = "import gc; print(gc.get_threshold()[0], gc.get_freeze_count())"


def test_a_script_has_the_collector_that_python_gives_it(tmp_path):
    """Reports have it look for cycles seldom; a training may need it, and what it frees at the end."""
    (tmp_path / "script.py").write_text(COLLECTOR)
    alone = process("script.py", program=[sys.executable], cwd=tmp_path)
    recorded = process("run", "script.py", program=ANEW, cwd=tmp_path)
    assert recorded.stdout == alone.stdout != ""


def test_a_command_that_reads_collects_seldom_and_not_at_its_end():
    after = "import atexit, gc; atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 1000))"
    command = f"{after}; from icshift.cli.main import main; main(['info', '--metrics'])"
    found = process("-c", command, program=[sys.executable])
    assert found.stdout.splitlines()[-1] == "50000 True"
