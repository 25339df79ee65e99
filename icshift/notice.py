"""Telling the user something in the middle of a training, without ever ending it."""

from __future__ import annotations

import sys
import warnings


def notice(message: str, *, stacklevel: int = 3) -> None:
    """Warn; where warnings are errors (`python -W error`) the message goes to stderr as it is."""
    try:
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
    except RuntimeWarning:
        print(message, file=sys.stderr)
