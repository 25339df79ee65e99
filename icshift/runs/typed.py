"""What JSON holds, checked once when it is read: types, ranges, and what must be there, in one line where it is not so.

A check takes a value and where it is. It returns nothing, or raises `UnexpectedError`, which says what was found there
and what was expected. Packages for this bring seconds of import, or types that JSON has not: `true` is no 1 here, and
NaN only where it is meant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Check: TypeAlias = "Callable[[Any, str], None]"

LARGEST = (1 << 63) - 1
_LONGEST = 1 << 16
"""Characters of a text."""

_SHOWN = 60


class UnexpectedError(ValueError):
    """A value that is not what was expected where it is."""


def unexpected(where: str, value: Any, expected: str) -> UnexpectedError:
    """Returns the error for a value that is not what is expected.

    >>> str(unexpected("format", True, "a whole number from 1"))
    'format is true: expected a whole number from 1'
    """
    try:
        shown = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError):
        shown = type(value).__name__
    return UnexpectedError(f"{where} is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}: expected {expected}")


def whole(least: int = 0, most: int = LARGEST) -> Check:
    """Whole numbers from `least` to `most`."""
    expected = f"a whole number from {least}" + (f" to {most:,}" if most < LARGEST else "")

    def check(value: Any, where: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise unexpected(where, value, expected)

    return check


def number(value: Any, where: str) -> None:
    """Finite numbers from 0."""
    if type(value) not in (int, float) or not 0 <= value < math.inf:
        raise unexpected(where, value, "a number from 0")


def measured(value: Any, where: str) -> None:
    """Numbers from 0, and what a training that breaks down makes of them: infinity and NaN."""
    if type(value) not in (int, float) or value < 0:
        raise unexpected(where, value, "a number from 0")


def text(value: Any, where: str) -> None:
    """Text that every file and terminal takes."""
    if type(value) is not str or len(value) > _LONGEST or not _is_utf8(value):
        raise unexpected(where, value, f"text of at most {_LONGEST:,} signs")


def flag(value: Any, where: str) -> None:
    """true or false."""
    if type(value) is not bool:
        raise unexpected(where, value, "true or false")


def anything(value: Any, where: str) -> None:
    """Whatever JSON holds."""


def or_null(check: Check) -> Check:
    """What a check takes, or null."""
    return lambda value, where: None if value is None else check(value, where)


def or_text(check: Check, word: str) -> Check:
    """What a check takes, or a certain word."""
    return lambda value, where: None if value == word else check(value, where)


def each(check: Check) -> Check:
    """Lists of what a check takes."""

    def check_all(value: Any, where: str) -> None:
        if type(value) is not list:
            raise unexpected(where, value, "a list")
        for number, one in enumerate(value):
            check(one, f"{where}[{number}]")

    return check_all


def by_name(check: Check) -> Check:
    """Objects whose entries, under whatever names, are what a check takes."""

    def check_all(value: Any, where: str) -> None:
        _refuse_no_object(value, where)
        for name, one in value.items():
            text(name, f"a name in {where}")
            check(one, f"{where}.{name[:_SHOWN]}")

    return check_all


def entries(needed: Mapping[str, Check], others: Mapping[str, Check] | None = None) -> Check:
    """Objects that have all the entries `needed` and may have `others`; any beside these is of a newer version."""
    known = {**needed, **(others or {})}

    def check(value: Any, where: str) -> None:
        _refuse_no_object(value, where)
        prefix = f"{where}." if where else ""
        for name in needed:
            if name not in value:
                raise UnexpectedError(f"{prefix}{name} is missing")
        for name, check_one in known.items():
            if name in value:
                check_one(value[name], f"{prefix}{name}")

    return check


def _refuse_no_object(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise unexpected(where or "it", value, "an object")


def _is_utf8(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value)
