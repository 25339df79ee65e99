"""Running a Python script in this process as Python itself would."""

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
from typing import Any

from icshift.errors import RecordingError

_OURS = ("icshift", "runpy")


def prepare(script: str, arguments: list[str], *, module: bool) -> Callable[[], None]:
    """Set `sys.argv` and `sys.path` as Python does for `python SCRIPT` or `python -m MODULE`; give what runs it.

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


def run(body: Callable[[], None]) -> int:
    """Run and give the exit code; an exception is shown as Python shows it, without the frames that are ours."""
    try:
        body()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001  Whatever it is, it is the script's.
        _show_theirs_alone(error)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _run_file(path: Path) -> None:
    """As `python FILE`: in a module `__main__` that stays, since pickles and threads look it up to the very end."""
    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=str(path), __package__=None, __builtins__=builtins, __loader__=SourceFileLoader("__main__", str(path))
    )
    with io.open_code(str(path)) as file:
        source = file.read()
    code = compile(source, str(path), "exec", dont_inherit=True)
    sys.modules["__main__"] = main
    exec(code, main.__dict__)


def when_imported(name: str, act: Callable[[], None]) -> None:
    """Call `act` as soon as this module is there; at once if it is.

    A script may say things that count only before an import, as how many threads there are to be.
    """
    if name in sys.modules:
        act()
    else:
        sys.meta_path.insert(0, _Watcher(name, act))


def _show_theirs_alone(error: BaseException) -> None:
    """Take our frames out of the traceback of an exception, and of those that led to it."""
    met: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in met:
            met.add(id(one))
            one.__traceback__ = _theirs(one.__traceback__)
            waiting += [one.__cause__, one.__context__]


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    frames = []
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] not in _OURS:
            frames.append(trace)
        trace = trace.tb_next
    theirs = None
    for frame in reversed(frames):
        theirs = TracebackType(theirs, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return theirs


def _discard(_: dict[str, Any]) -> None:
    pass


def _require_module(name: str) -> None:
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise RecordingError(f"no module named {name}: it must be importable from {Path.cwd()} or installed")


class _Watcher(MetaPathFinder):
    """Finds nothing itself; of one module it has `act` called after its import."""

    def __init__(self, name: str, act: Callable[[], None]) -> None:
        self._name = name
        self._act = act

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """Let the others find the module, and put a loader before theirs."""
        if name != self._name or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loading(spec.loader, self._act)
        return spec


class _Loading(Loader):
    """Loads as the loader it stands for, takes itself out of the module, and calls `act`."""

    def __init__(self, loader: Any, act: Callable[[], None]) -> None:
        self._loader = loader
        self._act = act

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the loader itself."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """As the loader itself; then `act`."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._act()
