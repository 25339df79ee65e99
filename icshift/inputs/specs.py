"""What the command line names by a spec: `package.module:name` or `path/to/file.py:name`."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import torch
from torch import nn

from icshift.errors import IcshiftError, ModelError, unknown

Network: TypeAlias = nn.Module
"""Any model, by a name for those who load no torch."""


def resolve(spec: str) -> Any:
    """What a spec names. Raises `ModelError` where there is no such module or name, or importing it fails."""
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise ModelError(f"{spec!r} is no spec: expected package.module:name or path/to/file.py:name")
    found: Any = _module(where)
    for part in name.split("."):
        if not hasattr(found, part):
            known = [known for known in vars(found) if not known.startswith("_")] if hasattr(found, "__dict__") else []
            raise ModelError(f"{where}: {unknown('name', part, known)}")
        found = getattr(found, part)
    return found


def build_model(spec: str, arguments: dict[str, Any]) -> nn.Module:
    """A model from a class, a function that makes one, or a model itself. Raises `ModelError` for anything else.

    Weights are drawn in the same way every time; the random state is left as it was.
    """
    with torch.random.fork_rng():
        return _built(spec, arguments)


def arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments from `name=value`; values that are Python literals are read as such, the rest as text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ModelError(f"--model-arg takes name=value, got {pair!r}")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            found[name] = value
    return found


def _module(where: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # A script without a main guard may end in sys.exit.
        raise ModelError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ModelError(f"no such file: {path}")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise ModelError(f"{path} is no Python file")
    if str(path.resolve().parent) not in sys.path:
        sys.path.insert(0, str(path.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as import does: dataclasses and pickles look their module up.
    registered = sys.modules.setdefault(path.stem, module) is module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if registered:
            del sys.modules[path.stem]
        raise
    return module


def _built(spec: str, arguments: dict[str, Any]) -> nn.Module:
    found = resolve(spec)
    if not isinstance(found, nn.Module):
        if not callable(found):
            raise ModelError(
                f"{spec} is {type(found).__name__}: expected a model, its class or a function that makes it"
            )
        try:
            torch.manual_seed(0)
            found = found(**arguments)
        except IcshiftError:
            raise
        except Exception as error:
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            raise ModelError(f"{spec}({given}) failed: {type(error).__name__}: {error}; see --model-arg") from error
    elif arguments:
        raise ModelError(f"{spec} is a model already: it takes no --model-arg")
    if not isinstance(found, nn.Module):
        raise ModelError(f"{spec} gave {type(found).__name__}: expected a torch.nn.Module")
    return found
