"""What somebody gives as a setting, made plain before anything is recorded, or refused in one line.

A number of NumPy or torch is as good as one of Python, and is kept as Python's: a manifest is JSON, whose reader takes
nothing else. True is no 1 where a number is meant.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from icshift.errors import RecordingError

LARGEST = (1 << 63) - 1
"""The largest whole number that is read back from a manifest."""

_SHOWN = 60


def whole(name: str, value: Any, least: int, most: int = LARGEST, *, words: tuple[str | None, ...] = ()) -> Any:
    """Returns a whole number as an int, or one of `words`, which are taken in its place.

    Raises `RecordingError` for anything else, and for a number that is not from `least` to `most`.

    >>> import numpy as np
    >>> whole("samples", np.int64(8), 2), whole("samples", "all", 2, words=("all",))
    (8, 'all')
    """
    if value is None or isinstance(value, str):
        number = None
        if value in words:
            return value
    else:
        number = _index(value)
    if number is None or not least <= number <= most:
        upper = f" to {most:,}" if most < LARGEST or (number is not None and number > most) else ""
        listed = "".join(f", or {word}" if word is None else f', or "{word}"' for word in words)
        raise refused(name, value, f"a whole number from {least:,}{upper}{listed}")
    return number


def share(name: str, value: Any) -> float:
    """Returns a number above 0 and below 1 as a float. Raises `RecordingError` for anything else.

    >>> share("overhead", 0.03)
    0.03
    """
    number = _real(value)
    if number is None or not 0 < number < 1:
        raise refused(name, value, "a share above 0 and below 1, as 0.03 for 3 %")
    return number


def truth(name: str, value: Any) -> bool:
    """Returns True or False. Raises `RecordingError` for anything else.

    >>> truth("force", False)
    False
    """
    if not _is_truth(value):
        raise refused(name, value, "True or False")
    return bool(value)


def truth_or_whole(name: str, value: Any, least: int) -> bool | int:
    """Returns True or False, or a whole number from `least` on. Raises `RecordingError` for anything else.

    >>> truth_or_whole("resume", True, 0), truth_or_whole("resume", 1, 0)
    (True, 1)
    """
    if _is_truth(value):
        return bool(value)
    number = _index(value)
    if number is None or not least <= number <= LARGEST:
        raise refused(name, value, f"True, False or a whole number from {least:,}")
    return number


def by_glob(name: str, value: Any, least: int, most: int) -> dict[str, int]:
    """Returns whole numbers by glob. Raises `RecordingError` for anything else.

    >>> by_glob("axis", {"layers.*": -1}, -9, 9)
    {'layers.*': -1}
    """
    if not isinstance(value, Mapping) or not all(isinstance(glob, str) for glob in value):
        raise refused(name, value, "a mapping from globs over names of sites to whole numbers")
    return {glob: whole(f"{name}[{glob!r}]", one, least, most) for glob, one in value.items()}


def refused(name: str, value: Any, expected: str) -> RecordingError:
    """Returns the error for a setting that is not what is expected.

    >>> str(refused("max_units", 2.5, "a whole number from 1"))
    'max_units is 2.5: expected a whole number from 1'
    """
    shown = " ".join(repr(value).split())
    return RecordingError(f"{name} is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}: expected {expected}")


def _index(value: Any) -> int | None:
    try:
        return None if _is_truth(value) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def _real(value: Any) -> float | None:
    """A number of whatever type as a float; of arrays and tensors those without an axis."""
    if _is_truth(value) or isinstance(value, (str, bytes, bytearray)) or getattr(value, "ndim", None):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None


def _is_truth(value: Any) -> bool:
    """Whether it is True or False, also of NumPy (whose dtype is `bool`) or torch (`torch.bool`), without an axis."""
    if isinstance(value, bool):
        return True
    dtype, axes = getattr(value, "dtype", None), getattr(value, "ndim", None)
    return str(dtype).removeprefix("torch.") == "bool" and not axes
