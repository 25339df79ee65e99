"""Which kernel is in use: native where it was built, unless the environment asks for NumPy's. Knows no torch."""

from __future__ import annotations

import os
from types import ModuleType

from icshift.notice import notice

CHOICE = "ICSHIFT_KERNEL"
"""The environment variable that asks for `numpy` or `native`."""

try:
    from icshift import _kernel as compiled
except ImportError:  # There was no compiler, or this is another system: NumPy does the same.
    compiled = None


def native() -> ModuleType | None:
    """Returns the compiled module where it is to be used, None where NumPy is."""
    return None if os.environ.get(CHOICE) == "numpy" else compiled


def in_use() -> str:
    """Returns which kernel is in use and, where that is NumPy's, why."""
    if native() is not None:
        return "native"
    return "numpy (the native kernel was not built)" if compiled is None else f"numpy ({CHOICE} asks for it)"


def say_what_is_missing() -> None:
    """Gives a notice where the environment asks for a kernel that is not there. Recording goes on with NumPy's."""
    asked = os.environ.get(CHOICE, "")
    if asked == "native" and compiled is None:
        notice(f"{CHOICE} asks for the native kernel, which was not built: NumPy's is in use")
    elif asked not in ("", "native", "numpy"):
        notice(f"{CHOICE} is {asked!r}, where numpy or native is known: the kernel in use is {in_use()}")
