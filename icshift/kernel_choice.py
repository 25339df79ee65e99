"""Which kernel is in use: native where it was built, unless the environment asks for NumPy's. Knows no torch."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib import import_module
from typing import Any

from icshift.notice import notice

CHOICE = "ICSHIFT_KERNEL"
"""The environment variable that asks for `numpy` or `native`."""

compiled: Any = None
"""The module that `setup.py` builds from the folder `kernel`; None where it did not, as without a compiler."""

with suppress(ImportError):
    compiled = import_module("icshift._kernel")


def uses_native() -> bool:
    """Whether the native kernel is in use."""
    return compiled is not None and os.environ.get(CHOICE) != "numpy"


def in_use() -> str:
    """Returns which kernel is in use and, where that is NumPy's, why."""
    if uses_native():
        return "native"
    return "numpy (the native kernel was not built)" if compiled is None else f"numpy ({CHOICE} asks for it)"


def say_what_is_missing() -> None:
    """Gives a notice where the environment asks for a kernel that is not there. Recording goes on with NumPy's."""
    asked = os.environ.get(CHOICE, "")
    if asked == "native" and compiled is None:
        notice(f"{CHOICE} asks for the native kernel, which was not built: NumPy's is in use")
    elif asked not in ("", "native", "numpy"):
        notice(f"{CHOICE} is {asked!r}, where numpy or native is known: the kernel in use is {in_use()}")
