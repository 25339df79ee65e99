"""Specs: how the command line names something in code, as `package.module:name` or `path/to/file.py:name`.

To resolve a spec runs the user's code. The current directory and that of the file are put in front of `sys.path`, as
Python does for a script.
"""

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
"""Any model; commands, which load no torch, name its type by this."""


def resolve(spec: str) -> Any:
    """What a spec names. Raises `ModelError` where there is no such module or name, or importing it fails.

    >>> resolve("math:tau")
    6.283185307179586
    """
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise ModelError(f"{spec!r} is no spec: expected package.module:name or path/to/file.py:name")
    value: Any = _module(where)
    for part in name.split("."):
        if not hasattr(value, part):
            known = [known for known in vars(value) if not known.startswith("_")] if hasattr(value, "__dict__") else []
            raise ModelError(f"{where}: {unknown('name', part, known)}")
        value = getattr(value, part)
    return value


def build_model(spec: str, arguments: dict[str, Any]) -> nn.Module:
    """The model that a spec names: a class or a function that makes one, called with the arguments, or a model itself.

    Weights are drawn in the same way every time; the random state is left as it was. Raises `ModelError` where the call
    fails or gives something else.

    >>> build_model("torch.nn:Linear", {"in_features": 3, "out_features": 2})
    Linear(in_features=3, out_features=2, bias=True)
    """
    # By default every device of the machine would be set up for it.
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []):
        return _built(spec, arguments)


def model_arguments(pairs: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments from `name=value`; values that are Python literals are read as such, the rest as text.

    Raises `ModelError` for a pair of another form.

    >>> model_arguments(["width=64", "kind=deep"])
    {'width': 64, 'kind': 'deep'}
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise ModelError(f"--model-arg takes name=value, got {pair!r}")
        try:
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            arguments[name] = value
    return arguments


def _module(where: str) -> ModuleType:
    """The module of a dotted name or of a file, imported where it is not yet."""
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
    model = resolve(spec)
    if not isinstance(model, nn.Module):
        if not callable(model):
            raise ModelError(
                f"{spec} is {type(model).__name__}: expected a model, its class or a function that makes it"
            )
        try:
            torch.manual_seed(0)
            model = model(**arguments)
        except IcshiftError:
            raise
        except Exception as error:
            given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
            raise ModelError(f"{spec}({given}) failed: {type(error).__name__}: {error}; see --model-arg") from error
    elif arguments:
        raise ModelError(f"{spec} is a model already: it takes no --model-arg")
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec} gave {type(model).__name__}: expected a torch.nn.Module")
    return model
