"""A `Distribution` that lies in a file: of it is read what is asked for, when it is asked for first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, cast

from icshift.blocks import Blocks
from icshift.distribution import Distribution, Floats, Ints
from icshift.runs.attributes import KINDS

Read = Callable[[str], Mapping[str, Any]]
"""Returns the attributes of one of the `KINDS`, by their names."""


class _Asked:
    """An attribute that is read, with all others of its kind, when it is asked for first."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Stored | None, owner: type) -> Any:
        if instance is None:
            return self
        found = instance.read(self._kind)
        instance.__dict__.update(found)
        return found[self._name]


class Stored(Distribution):
    """A distribution whose attributes are read when they are asked for; how many `units` it has is known before.

    Asking for one raises `RunError` where the file is damaged, and `ChangedError` where it was replaced.
    """

    read: Read

    count = cast("Ints", _Asked("moments"))
    nonfinite = cast("Ints", _Asked("moments"))
    mean = cast("Floats", _Asked("moments"))
    std = cast("Floats", _Asked("moments"))
    min = cast("Floats", _Asked("moments"))
    max = cast("Floats", _Asked("moments"))
    zero_share = cast("Floats", _Asked("moments"))
    sampled = cast("Ints", _Asked("moments"))
    w1_error = cast("Floats", _Asked("moments"))
    rank_error = cast("float", _Asked("moments"))
    values = cast("Floats", _Asked("values"))
    blocks = cast("Blocks | None", _Asked("blocks"))
    examples = cast("Floats | None", _Asked("examples"))
    tails = cast("Floats | None", _Asked("tails"))

    @cached_property
    def units(self) -> int:
        """Number of units."""
        return len(self.count)

    def whole(self) -> Stored:
        """Returns the same, with all of it read."""
        for kind in KINDS:
            self.__dict__.update(self.read(kind))
        return self

    @classmethod
    def at(cls, units: int, read: Read) -> Stored:
        """Returns the distribution of so many units whose attributes `read` returns."""
        made = cls.__new__(cls)
        made.__dict__.update(units=units, read=read)
        return made
