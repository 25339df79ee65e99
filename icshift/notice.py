"""Warnings in the middle of a training, which never end it."""

from __future__ import annotations

import sys
import warnings


def notice(message: str, *, stacklevel: int = 3) -> None:
    """Warns with a `RuntimeWarning`; where warnings are errors (`python -W error`) the message goes to stderr instead.

    `stacklevel` counts frames from this function to the line that the warning is about, as in `warnings.warn`: 3 is the
    caller of whoever calls `notice`.
    """
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
    except RuntimeWarning:
        print(message, file=sys.stderr)
