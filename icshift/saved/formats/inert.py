"""Pickles read as data: nothing that a pickle names is imported, called or built.

A pickle is a program. This reads what the program says (dictionaries, numbers, "call posix.system with this") without
doing it: a call stays a note that there was one. It tells what is in a file before anything else touches it, and is all
that reads epochs, steps and the metadata of distributed checkpoints. `pickletools` splits the program into its
instructions; a restricted `pickle.Unpickler` was rejected, since allowed classes can still be altered through it and
a number in the file decides how much memory its memo takes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, cast

from icshift.errors import ModelError

_MOST_BYTES = 256 << 20
_MOST_INSTRUCTIONS = 5_000_000
_MOST_WORK = 20_000_000
"""Elements that hashing keys and calling what is called would touch; shared tuples make it grow without bound."""


@dataclass(frozen=True)
class Name:
    """Something the pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What a call would give: of what, with which arguments, and what would be put into it afterwards."""

    what: Any
    arguments: Any
    state: Any = None


@dataclass(frozen=True, eq=False)
class Stored:
    """What lies outside the pickle, by its identity: the storage of a tensor."""

    identity: Any


@dataclass(eq=False)
class Pickle:
    """One pickle: its value, and everything it would import, call or take from outside."""

    value: Any = None
    protocol: int = 0
    names: dict[Name, None] = field(default_factory=dict)
    calls: list[Made] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)


def read(file: BinaryIO) -> Pickle:
    """The next pickle of a file, which is left behind it. Raises `ModelError` for one that is too large or broken."""
    reading = _Reading()
    for count, (instruction, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", _Bounded(file)))):
        if count > _MOST_INSTRUCTIONS:
            raise ModelError(f"has a pickle of more than {_MOST_INSTRUCTIONS:,} instructions: no saved model has")
        reading.follow(instruction.name, argument)
    return reading.found


class _Bounded:
    """A file of which one pickle may take so much and no more, whatever lengths it declares."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _MOST_BYTES

    def read(self, count: int) -> bytes:
        return self._took(self._file.read(min(count, self._left + 1)) if count >= 0 else b"")

    def readline(self) -> bytes:
        return self._took(self._file.readline(min(1 << 16, self._left + 1)))

    def _took(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ModelError(f"has a pickle of more than {_MOST_BYTES >> 20} MB: no saved model has")
        return data


class _Reading:
    """The stack, the memo and the marks of the pickle that is read."""

    def __init__(self) -> None:
        self.found = Pickle()
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._tuples: list[tuple[Any, ...]] = []  # Keeps them alive: `_sizes` goes by identity.
        self._largest = 1
        self._work = 0

    def follow(self, instruction: str, argument: Any) -> None:
        """Does what one instruction says, as far as it moves values about."""
        act = _ACTS.get(instruction)
        if act is not None:
            act(self, argument)
        elif instruction in _VALUES:
            self._stack.append(argument)
        elif instruction == "PROTO":
            self.found.protocol = argument
        elif instruction != "FRAME":
            raise ModelError(f"has a pickle with the instruction {instruction}: no saved model has")

    def stop(self, _: Any) -> None:
        self.found.value = self._stack.pop()

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self.since_mark()

    def duplicate(self, _: Any) -> None:
        self._stack.append(self._stack[-1])

    def remember(self, key: int | None) -> None:
        self._memo[len(self._memo) if key is None else int(key)] = self._stack[-1]

    def recall(self, key: int) -> None:
        self._stack.append(self._memo[int(key)])

    def tuple_of(self, items: list[Any]) -> None:
        made = tuple(items)
        size = 1 + sum(self._sizes.get(id(item), 1) for item in made)
        self._tuples.append(made)
        self._sizes[id(made)] = size
        self._largest = max(self._largest, size)
        self._count(size)
        self._stack.append(made)

    def last(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise ModelError("has a pickle that takes more than it has: damaged")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)

    def update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._count(self._sizes.get(id(key), 1) + (key.bit_length() >> 6 if isinstance(key, int) else 0))
            if isinstance(target, dict):
                target[key if isinstance(key, Hashable) else id(key)] = value

    def name(self, pair: str) -> None:
        module, _, name = pair.partition(" ")
        self._named(module, name)

    def name_on_stack(self, _: Any) -> None:
        module, name = self.last(2)
        self._named(str(module), str(name))

    def _named(self, module: str, name: str) -> None:
        found = Name(module, name)
        self.found.names[found] = None
        self._stack.append(found)

    def extension(self, code: int) -> None:
        self._named("copyreg", f"extension {code}")

    def call(self, what: Any, arguments: Any) -> None:
        """A call that is not made. An ordered dictionary alone is understood: it is what state dicts are."""
        inner = arguments if isinstance(arguments, tuple) else ()
        counted = sum(len(item) * self._largest for item in inner if isinstance(item, (list, dict)))
        counted += sum(len(item) >> 4 for item in inner if isinstance(item, (str, bytes, bytearray)))
        self._count(self._sizes.get(id(arguments), 1) + counted)
        made = Made(what, arguments)
        self.found.calls.append(made)
        self._stack.append({} if what == Name("collections", "OrderedDict") and arguments == () else made)

    def reduce(self, _: Any) -> None:
        self.call(*self.last(2))

    def new_with_keywords(self, _: Any) -> None:
        what, arguments, keywords = self.last(3)
        self.call(what, (arguments, keywords))

    def instance(self, pair: str) -> None:
        arguments = self.since_mark()
        self.name(pair)
        self.call(self._stack.pop(), tuple(arguments))

    def object(self, _: Any) -> None:
        what, *arguments = self.since_mark()
        self.call(what, tuple(arguments))

    def build(self, _: Any) -> None:
        state = self._stack.pop()
        if isinstance(made := self._stack[-1], Made):
            made.state = state

    def outside(self, identity: Any) -> None:
        self.found.stored.append(Stored(identity))
        self._stack.append(self.found.stored[-1])

    def outside_on_stack(self, _: Any) -> None:
        self.outside(self._stack.pop())

    def _count(self, work: int) -> None:
        self._work += work
        if self._work > _MOST_WORK:
            raise ModelError("has a pickle that unfolds without bound: no saved model does")


_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_BYTES = ("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8")
_VALUES = frozenset((*_NUMBERS, *_TEXTS, *_BYTES))
"""Instructions whose argument is the value they push."""

_ACTS: dict[str, Any] = {
    "STOP": _Reading.stop,
    "MARK": _Reading.mark,
    "POP": _Reading.pop,
    "POP_MARK": lambda reading, _: reading.since_mark(),
    "DUP": _Reading.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Reading.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Reading.recall),
    "NONE": lambda reading, _: reading.push(None),
    "NEWTRUE": lambda reading, _: reading.push(True),
    "NEWFALSE": lambda reading, _: reading.push(False),
    "EMPTY_TUPLE": lambda reading, _: reading.tuple_of([]),
    "TUPLE1": lambda reading, _: reading.tuple_of(reading.last(1)),
    "TUPLE2": lambda reading, _: reading.tuple_of(reading.last(2)),
    "TUPLE3": lambda reading, _: reading.tuple_of(reading.last(3)),
    "TUPLE": lambda reading, _: reading.tuple_of(reading.since_mark()),
    # Sets are kept as lists: nothing has to be hashed.
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda reading, _: reading.push([])),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda reading, _: reading.push(reading.since_mark())),
    "APPEND": lambda reading, _: reading.extend(reading.last(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda reading, _: reading.extend(reading.since_mark())),
    "EMPTY_DICT": lambda reading, _: reading.push({}),
    "DICT": lambda reading, _: (items := reading.since_mark(), reading.push({}), reading.update(items)),
    "SETITEM": lambda reading, _: reading.update(reading.last(2)),
    "SETITEMS": lambda reading, _: reading.update(reading.since_mark()),
    "GLOBAL": _Reading.name,
    "STACK_GLOBAL": _Reading.name_on_stack,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _Reading.extension),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Reading.reduce),
    "NEWOBJ_EX": _Reading.new_with_keywords,
    "INST": _Reading.instance,
    "OBJ": _Reading.object,
    "BUILD": _Reading.build,
    "PERSID": _Reading.outside,
    "BINPERSID": _Reading.outside_on_stack,
}
