"""Imports the heavy packages, then forks for every command: the fork goes on as a new interpreter would begin.

    python server.py [PACKAGE…]

imports these too. It prints its number and the folder where its programs are, and ends with its input.
"""

import atexit
import builtins
import faulthandler
import fcntl
import gc
import io
import marshal
import multiprocessing.process
import multiprocessing.spawn
import os
import runpy
import select
import shutil
import signal
import site
import socket
import sys
import tempfile
import threading
import warnings
from contextlib import suppress
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

AT_START = dict(os.environ)
"""Packages add to it."""

SEARCHED = sys.path[1:]
"""Where an interpreter finds modules, without the folder of its script."""

OF_THE_START = ("PYTHON", "OMP_", "MKL_", "OPENBLAS_", "LD_")
"""Variables beginning so are read while an interpreter starts; those of a command must be the server's own."""

BY_OPTION = {"-u": "PYTHONUNBUFFERED", "-B": "PYTHONDONTWRITEBYTECODE"}
"""Options of an interpreter that variables stand for; multiprocessing passes on those it was started with."""

Job = tuple[list[str], str, dict[str, str], list[int], list[int]]
"""The arguments, the folder, the environment, the signals that are ignored, and the numbers of the open files."""

OWN = str(os.getpid())

STACKS = signal.SIGRTMIN + 7
"""A signal that nobody uses."""

ELSEWHERE = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHON_EXEC", "PYTHONUNBUFFERED", "PYTHONIOENCODING")
"""But for these, which are seen to below, or are torchrun's."""


def import_heavy_packages() -> None:
    """Those that many commands need, and that take a tenth of a second or more."""
    import altair  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch._dynamo  # Optimizers import it.
    import torch.distributed.elastic.multiprocessing
    import torch.utils.data  # noqa: F401


def serve() -> Job | None:
    """Fork for every command; returns in the fork, with the command, and at the end of the input, with None."""
    folder = Path(tempfile.mkdtemp(prefix="icshift-tests-"))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()
    _write_programs(folder)
    _show_stacks(folder / "stacks")
    gc.collect()
    gc.freeze()  # Pages that the collector does not touch stay shared.
    print(OWN, folder, flush=True)
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        clients = {connection: descriptor for descriptor, (_, connection) in running.items()}
        ready, _, _ = select.select([0, listener, *running, *clients], [], [])
        if 0 in ready:
            shutil.rmtree(folder)
            return None
        for one in ready:
            if one is listener:
                connection, _ = listener.accept()
                job, streams = _received(connection)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # Of the thread of `_assert_one_thread`.
                    child = os.fork()
                if child == 0:
                    for other in (listener, connection, *clients):
                        other.close()
                    for descriptor in running:
                        os.close(descriptor)
                    _put(streams, job[-1])
                    multiprocessing.spawn.set_executable(str(folder / "python"))
                    return job
                for stream in streams:
                    os.close(stream)
                connection.sendall(child.to_bytes(4, "big"))
                running[os.pidfd_open(child)] = child, connection
            elif one in clients and clients[one] in running:
                # Nothing more is ever said: its process was killed.
                os.kill(running[clients[one]][0], signal.SIGKILL)
                clients[one] = -1
            elif one in running:
                child, connection = running.pop(one)
                status = os.waitpid(child, 0)[1]
                os.close(one)
                with connection:
                    _tell(connection, status)


def _show_stacks(file: Path) -> None:
    """Where they are, forks write to a file when they get `STACKS`: beyond the numbers that a command may want."""
    with file.open("a") as opened:
        number = fcntl.fcntl(opened, fcntl.F_DUPFD_CLOEXEC, 900)
    faulthandler.register(STACKS, file=number, all_threads=True)


def _put(received: list[int], numbers: list[int]) -> None:
    """Open files under the numbers that they had where they come from: of input and outputs those that are open."""
    aside = [fcntl.fcntl(file, fcntl.F_DUPFD, 1000) for file in received]
    for file in {*received, 0, 1, 2}:
        os.close(file)
    for file, number in zip(aside, numbers, strict=True):
        os.dup2(file, number)
        os.close(file)


def _assert_one_thread() -> None:
    """A fork has none of the other threads, and would wait for ever for what they hold."""
    names = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir() if task.name != OWN}
    # The allocator of pyarrow has one, and sees to forks itself.
    assert names <= {"jemalloc_bg_thd"}, names


def _tell(connection: socket.socket, status: int) -> None:
    with suppress(BrokenPipeError):
        connection.sendall(status.to_bytes(4, "big"))


def _write_programs(folder: Path) -> None:
    source = Path(__file__).with_name("client.py").read_text()
    for name, arguments in (("python", ()), ("icshift", ("-m", "icshift"))):
        program = folder / name
        call = f"main({str(folder / 'socket')!r}, *{arguments!r}, *sys.argv[1:])"
        program.write_text(f"#!{sys.executable} -ISE\n{source}\n\n{call}\n")
        program.chmod(0o755)


def _received(connection: socket.socket) -> tuple[Job, list[int]]:
    """A command with all that it is given, and its open files."""
    length, streams, _, _ = socket.recv_fds(connection, 4, 250)
    with connection.makefile("rb") as file:
        return marshal.loads(file.read(int.from_bytes(length, "big"))), streams


def nothing_waits_for_the_disk() -> None:
    """As in the process of the tests (`tests/conftest.py`)."""
    os.fsync = lambda _: None


def run(arguments: list[str], folder: str, environment: dict[str, str], ignored: list[int], _: list[int]) -> None:
    """Go on as `python ARGUMENTS` would, and end as it would."""
    while (named := BY_OPTION.get(arguments[0])) is not None:
        arguments, environment = arguments[1:], environment | {named: "1"}
    _begin(folder, environment, ignored)
    sys.modules["__main__"] = ModuleType("__main__")
    sys.modules["__main__"].__builtins__ = builtins
    code = 0
    try:
        _go_on(arguments, folder)
    except SystemExit as end:
        code = end.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException as error:  # noqa: BLE001  (the hook of exceptions sees all of them)
        sys.excepthook(type(error), error.with_traceback(_without_ours(error)), error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    _leave(code)


def _go_on(arguments: list[str], folder: str) -> None:
    first, *rest = arguments
    main = sys.modules["__main__"]
    sys.argv = arguments if first not in ("-c", "-m") else [first, *rest[1:]]
    site.execsitecustomize()
    if first == "-m":
        sys.argv, sys.path[0] = rest, folder
        runpy._run_module_as_main(rest[0])
    elif first == "-c":
        sys.path[0] = ""
        exec(compile(rest[0], "<string>", "exec", dont_inherit=True), main.__dict__)
    else:
        assert not first.startswith("-"), f"for {first} start a new interpreter"
        sys.path[0], script = str(Path(first).resolve().parent), str(Path(first).absolute())
        main.__file__, main.__cached__, main.__loader__ = script, None, SourceFileLoader("__main__", script)
        exec(compile(Path(script).read_bytes(), script, "exec", dont_inherit=True), main.__dict__)


def _leave(code: int) -> None:
    """What an interpreter does at its end, but for taking all modules apart, which is half a second.

    A code below 0 is the signal that ends it, as `subprocess` has it.
    """
    threading._shutdown()
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except OSError:
        sys.exit(code)  # It has its own words and exit code for that.
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _begin(folder: str, environment: dict[str, str], ignored: list[int]) -> None:
    for name in {*environment, *AT_START}:
        if name.startswith(OF_THE_START) and name not in ELSEWHERE:
            found, ours = environment.get(name), AT_START.get(name)
            assert found == ours, f"for {name}={found} start a new interpreter: here it is {ours}"
    os.chdir(folder)
    tempfile.tempdir = None
    multiprocessing.process.ORIGINAL_DIR = folder  # Processes that are spawned look for the script from there.
    os.environ.clear()
    os.environ.update(environment)
    more = environment.get("PYTHONPATH", "")
    sys.path[:] = ["", *(more.split(os.pathsep) if more else ()), *SEARCHED]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if signal.SIGINT in ignored else signal.default_int_handler)
    unbuffered = bool(environment.get("PYTHONUNBUFFERED"))
    encoding = environment.get("PYTHONIOENCODING", "")
    sys.stdin = sys.__stdin__ = _stream(0, sys.stdin, encoding, unbuffered=unbuffered)
    sys.stdout = sys.__stdout__ = _stream(1, sys.stdout, encoding, unbuffered=unbuffered)
    sys.stderr = sys.__stderr__ = _stream(2, sys.stderr, encoding, unbuffered=unbuffered)


def _stream(number: int, like: io.TextIOWrapper, encoding: str, *, unbuffered: bool) -> io.TextIOWrapper | None:
    """What an interpreter makes of a descriptor: it asks whether that is a terminal, and whether one can seek in it.

    The encoding is PYTHONIOENCODING, where that is set, and errors are then strict, but on stderr.
    """
    try:
        os.fstat(number)
    except OSError:
        return None
    raw = io.FileIO(number, "wb" if number else "rb", closefd=False)
    raw.name = like.name
    buffered = io.BufferedReader(raw) if not number else raw if unbuffered else io.BufferedWriter(raw)
    stream = io.TextIOWrapper(
        buffered,
        encoding or like.encoding,
        "strict" if encoding and number < 2 else like.errors,
        newline="\n" if number else None,
        line_buffering=not unbuffered and (number == 2 or raw.isatty()),
        write_through=unbuffered,
    )
    stream.mode = "w" if number else "r"
    return stream


def _without_ours(error: BaseException):
    """Its traceback from the first frame that is not of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


if __name__ == "__main__":
    import_heavy_packages()
    for package in sys.argv[1:]:
        import_module(package)
    nothing_waits_for_the_disk()
    _assert_one_thread()
    if (job := serve()) is not None:
        run(*job)
