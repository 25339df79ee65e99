"""Forks of a warm Python behave as a new interpreter: the same bytes, exit codes and signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.warm.starting import python

FAILING = """
def outer(n):
    try:
        inner(n)
    except ValueError as error:
        raise RuntimeError("outer") from error
def inner(n):
    raise ValueError(f"inner {n}")
"""

COMMANDS = {
    "nothing": ["-c", "pass"],
    "exit code": ["-c", "print('out'); raise SystemExit(3)"],
    "exit without a code": ["-c", "import sys; sys.exit()"],
    "exit with a message": ["-c", "import sys; print('out'); sys.exit('no data')"],
    "exceptions in a script": ["failing.py"],
    "exceptions in a module": ["-m", "failing"],
    "wrong syntax": ["wrong.py"],
    "no module": ["-m", "nosuch"],
    "interrupted": ["interrupted.py"],
    "killed": ["-c", "import os, signal; print('lost'); os.kill(os.getpid(), signal.SIGKILL)"],
    "terminated": ["-c", "import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"],
    "left at once": ["-c", "import os, sys; print('lost'); sys.stderr.write('kept'); os._exit(4)"],
    "input": ["-c", "import sys; print(sys.stdin.read().upper())"],
    "order of outputs": ["-c", "import os; print('second'); os.write(1, b'first\\n')"],
    "bytes": ["-c", "import sys; sys.stdout.buffer.write(bytes(range(256)))"],
    "facts of a command": ["-c", "from facts import *", "--option", "x y", "-c"],
    "facts of a script": ["facts.py", "--option", "x y", "-m"],
    "facts of a module": ["-m", "facts", "--option", "x y", "-c"],
    "facts of a package": ["-m", "package"],
    "facts without buffers": ["-u", "facts.py"],
    "the end": ["ending.py"],
    "a child that is forked": ["-c", "import os\nif os.fork(): os.wait()\nprint('both')"],
    "a child that is spawned": ["spawning.py"],
    "a customised site": [
        "env",
        "PYTHONPATH=custom",
        "PROGRAM",
        "-c",
        "print(__name__, 'custom' in __import__('sys').modules)",
    ],
    "another encoding": ["env", "PYTHONIOENCODING=cp437", "PROGRAM", "facts.py"],
    "a closed input": ["bash", "-c", 'exec "$0" facts.py <&-', "PROGRAM"],
    "an output that was closed": [
        "bash",
        "-c",
        'exec "$0" -c "import sys; print(sys.stdout, file=sys.stderr)" >&-',
        "PROGRAM",
    ],
    "an error that was closed": ["bash", "-c", 'exec "$0" -c "import sys; print(sys.stderr)" 2>&-', "PROGRAM"],
    "more files": ["bash", "-c", 'exec "$0" -c "import os; os.write(7, b\'seven\')" 7>&1', "PROGRAM"],
    "a closed output": ["-c", "import os, sys; print('out'); sys.stdout.flush(); os.close(1); print('lost')"],
}

FACTS = """
import os, signal, sys, tempfile
print(__name__, __package__, globals().get("__file__"), sys.argv, os.getcwd(), __spec__ and __spec__.name)
print(sys.path[:-1], os.environ["A"], tempfile.gettempdir(), len(os.environ))
print(sys.modules["__main__"].__dict__.keys() == globals().keys())
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)])
for stream in sys.stdin, sys.stdout, sys.stderr:
    if stream is not None:
        print(stream, stream.buffer, stream.errors, stream.newlines, stream.line_buffering, stream.write_through)
        print(stream.isatty(), stream.seekable(), sys.dont_write_bytecode)
print("icshift" in sys.modules, sorted(os.listdir("/proc/self/fd"))[:3])
print(sum(int(number) < 900 for number in os.listdir("/proc/self/fd")))  # Beyond that is what tests/bounded.py reads.
"""

ENDING = """
import atexit, pickle, threading, time
class Point:
    pass
def last():
    print("last", type(pickle.loads(pickle.dumps(Point()))).__module__)
def slow():
    time.sleep(0.1)
    print("thread")
atexit.register(last)
threading.Thread(target=slow).start()
print("main")
"""

WAITING = """
import os, time
print(os.getpid(), flush=True), time.sleep(60)  # one line: the signal may come in between
"""

SPAWNING = """
import multiprocessing, os
def work(n):
    print(n, __name__, __file__, os.getcwd())
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=work, args=(3,))
    process.start()
    process.join()
    print(process.exitcode)
"""


@pytest.fixture
def started(tmp_path):
    """Starts a program in a folder of scripts, with an environment that is not this one."""
    (tmp_path / "failing.py").write_text(FAILING + "outer(3)\n")
    (tmp_path / "wrong.py").write_text("print('never')\nepochs = = 3\n")
    (tmp_path / "interrupted.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    (tmp_path / "waiting.py").write_text(WAITING)
    (tmp_path / "facts.py").write_text(FACTS)
    (tmp_path / "ending.py").write_text(ENDING)
    (tmp_path / "spawning.py").write_text(SPAWNING)
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "sitecustomize.py").write_text("import sys\nsys.modules['custom'] = sys\nprint(sys.argv)\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(FACTS)
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON", "OMP_"))}
    environment = {**kept, "A": "b", "TMPDIR": str(tmp_path), "PYTHONPATH": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}

    def start(program, *arguments, **options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen([program, *arguments], cwd=tmp_path, env=environment, **pipes, **options)

    return start


@pytest.mark.some(10)
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_fork_does_what_a_new_interpreter_does(name, started):
    ends = []
    for program in (sys.executable, python()):
        command = [program if word == "PROGRAM" else word for word in COMMANDS[name]]
        with started(*([] if program in command else [program]), *command) as process:
            ends.append((*process.communicate(b"words\n", timeout=60), process.returncode))
    assert ends[0] == ends[1]


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it(number, started):
    ends = []
    for program in (sys.executable, python()):
        with started(program, "waiting.py") as process:
            assert process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
            marks = [line for line in err.splitlines() if set(line) <= set(b" ^")]  # of the call that it came in
            ends.append((out, [line for line in err.splitlines() if line not in marks], process.returncode))
    assert ends[0] == ends[1]
    assert ends[0][2] == -number


def test_what_its_shell_ignores_it_ignores(started):
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    with started("bash", "-c", 'trap "" INT; exec "$@"', "bash", python(), "-c", code) as process:
        assert process.communicate(timeout=30) == (b"True\n", b"")


def test_a_command_whose_program_is_killed_ends(started):
    with started(python(), "waiting.py") as process:
        command = int(process.stdout.readline())
        process.kill()
    for _ in range(3000):
        if not os.path.exists(f"/proc/{command}"):  # noqa: PTH110
            return
        time.sleep(0.01)
    raise AssertionError(f"process {command} still runs")


def test_what_was_read_at_its_start_is_not_another_now(started):
    with started("env", "OMP_NUM_THREADS=2", python(), "-c", "print('never')") as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, b"")
    assert b"start a new interpreter" in err
