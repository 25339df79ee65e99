"""What waits for another process without end is ended, and where that process was is shown."""

import subprocess
import sys

from tests.bounded import bounded
from tests.warm.starting import python

WAITING = "import threading, sys\ndef deep():\n    threading.Event().wait()\nprint('here', flush=True)\ndeep()\n"


def waiting(program, folder):
    (folder / "waiting.py").write_text(WAITING)
    return subprocess.Popen([program, folder / "waiting.py"], stdout=subprocess.PIPE, text=True)


def test_a_fork_that_waits_for_ever_is_shown_line_by_line_and_ended(tmp_path, capsys):
    program = python()
    with bounded(2), waiting(program, tmp_path) as process:
        assert process.stdout.readline() == "here\n"
        assert process.stdout.readline() == ""
    assert process.returncode == -9
    assert f'File "{tmp_path / "waiting.py"}", line 3 in deep' in capsys.readouterr().out


def test_another_program_is_ended_too_and_the_forks_after_it_are_not(tmp_path, capsys):
    with bounded(2), waiting(sys.executable, tmp_path) as process:
        assert process.wait() == -9
    assert "nothing within 2 s" in capsys.readouterr().out
    assert subprocess.run([python(), "-c", "print('still here')"], capture_output=True, check=True).stdout


def test_what_ends_in_time_is_left_alone(capsys):
    program = python()
    with bounded(20):
        assert not subprocess.run([program, "-c", "pass"], check=True).returncode
    assert capsys.readouterr().out == ""
