"""Running a Python script in this process as Python itself would: `__main__`, `sys.argv`, tracebacks, exit code.

This file is free of torch: a script may set, before it imports torch, what counts only then.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import runpy
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from icshift.errors import RecordingError

_OURS = ("icshift", "runpy")
"""Packages whose frames are left out of tracebacks."""

_IMPORT = "<frozen importlib."
"""How the file names of Python's own frames of an import begin."""


def prepare(script: str, arguments: list[str], *, module: bool) -> Callable[[], None]:
    """Sets `sys.argv` and `sys.path` as `python SCRIPT` or `python -m MODULE` does, and returns what runs the script.

    Raises `RecordingError` where there is no such script or module.
    """
    sys.argv = [script, *arguments]
    if module:
        sys.path[0] = str(Path.cwd())
        _require_module(script)
        return lambda: _discard(runpy.run_module(script, run_name="__main__", alter_sys=True))
    path = Path(script)
    if not path.exists():
        raise RecordingError(f"no such script: {script}; for a module say: icshift run -m {script}")
    if path.is_dir():
        if not (path / "__main__.py").is_file():
            raise RecordingError(f"{script} is a directory without __main__.py: give a script")
        return lambda: _discard(runpy.run_path(script, run_name="__main__"))
    sys.path[0] = str(path.resolve().parent)
    return lambda: _run_file(path.absolute())


def run(body: Callable[[], None]) -> int | None:
    """Runs what `prepare` returned, and returns the exit code of Python: 1 after an exception.

    None after Ctrl-C: Python itself decides at its very end what that exits with, see `end_interrupted`. An exception
    is shown on stderr as Python shows it, without the frames of icshift.
    """
    try:
        body()
    except SystemExit as end:
        if not end.code:
            return 0
        sys.last_value = end
        if isinstance(end.code, int):
            return end.code
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001  Whatever it is, it is the script's.
        sys.last_value = error
        _show_theirs_alone(error)
        sys.excepthook(type(error), error, error.__traceback__)
        return None if type(error) is KeyboardInterrupt else 1  # Of another class, Python takes it for any error.
    return 0


def end_interrupted() -> NoReturn:
    """Ends this process as Python ends one that Ctrl-C interrupted, whose traceback has been shown.

    Python kills it with SIGINT, which a shell calls 130, where nothing at its exit runs code from a string (then it is
    1). So the exception has to reach the interpreter.
    """
    sys.excepthook = lambda *_: None
    raise KeyboardInterrupt


def uncaught() -> BaseException | None:
    """The exception that ended the script or, in a process that it started, that process; None where none did."""
    found: BaseException | None = getattr(sys, "last_value", None)
    return found


def _run_file(path: Path) -> None:
    """Runs a file in a new module `__main__`, which stays: pickles and threads look it up to the end of the process."""
    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=str(path), __package__=None, __builtins__=builtins, __loader__=SourceFileLoader("__main__", str(path))
    )
    with io.open_code(str(path)) as file:
        source = file.read()
    code = compile(source, str(path), "exec", dont_inherit=True)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def when_imported(name: str, act: Callable[[], None]) -> Callable[[], None]:
    """Calls `act` right after a module's first import; at once where it is imported already.

    A script may set things that count only before that import, such as the number of threads. Returns what ends the
    waiting.
    """
    watcher = _ImportWatcher(name, act)
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, watcher)
    return watcher.end


def _show_theirs_alone(error: BaseException) -> None:
    """Takes the frames of icshift out of the traceback of an exception, and of those that led to it."""
    met: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        shown = waiting.pop()
        if shown is not None and id(shown) not in met:
            met.add(id(shown))
            shown.__traceback__ = _theirs(shown.__traceback__)
            waiting += [shown.__cause__, shown.__context__]


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of icshift."""
    frames: list[TracebackType] = []
    passed: list[TracebackType] = []
    ours = False
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(_IMPORT):
            passed.append(trace)  # Python leaves these out itself, but around a frame of ours.
        elif str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] in _OURS:
            passed, ours = [], True
        else:
            frames += [*([] if ours else passed), trace]
            passed, ours = [], False
        trace = trace.tb_next
    frames += [] if ours else passed
    theirs = None
    for frame in reversed(frames):
        theirs = TracebackType(theirs, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return theirs


def _discard(_: dict[str, Any]) -> None:
    pass


def _require_module(name: str) -> None:
    """Raises `RecordingError` where `python -m NAME` would find nothing to run."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise RecordingError(f"no module named {name}: it must be importable from {Path.cwd()} or installed")


class _ImportWatcher(MetaPathFinder):
    """A finder that lets others find one module, and has `act` called after that module's import."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._name = name
        self._act = act

    def end(self) -> None:
        """Wait no longer."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """The spec that other finders give, with a loader before theirs; None for every other module."""
        if name != self._name or self not in sys.meta_path:
            return None
        self.end()
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loading(spec.loader, self._act)
        return spec


class _Loading(Loader):
    """Loads a module with its own loader, puts that loader back as the module's, and calls `act`."""

    def __init__(self, loader: Any, act: Callable[[], None]) -> None:
        self._loader = loader
        self._act = act

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module, if the loader itself makes it."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module as its own loader does, then `act`."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._act()
