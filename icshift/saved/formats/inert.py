"""Pickles read as data: nothing that a pickle names is imported, called or built.

A pickle is a program. This module follows what the program does to its stack (push a number, fill a dictionary) and
notes what it would call ("posix.system with this") without calling it. It shows what is in a file before anything else
touches it, and nothing else reads epochs, steps and the metadata of distributed checkpoints. `pickletools` splits the
program into its instructions; a restricted `pickle.Unpickler` was rejected, since allowed classes can still be altered
through it, and a number in the file decides how much memory its memo takes.
"""

from __future__ import annotations

import pickletools
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import IO, Any, BinaryIO, cast

from icshift.errors import ModelError

_MOST_BYTES = 256 << 20
_MOST_INSTRUCTIONS = 5_000_000
_FEW_INSTRUCTIONS = 500_000
_BYTES_EACH = 2
"""Beyond few instructions there may be one for so many bytes: state dicts take 2.7, lists of numbers 5 or 9."""

_MOST_WORK = 20_000_000
"""Elements that hashing keys and calling what is called would touch; shared tuples make it grow without bound."""


@dataclass(frozen=True)
class Name:
    """The full name of a class or function that the pickle would import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """Stands for the result of a call: of what, with which arguments; `state` would be put into it afterwards."""

    what: Any
    arguments: Any
    state: Any = None


@dataclass(frozen=True, eq=False)
class Stored:
    """Stands for something outside the pickle, the storage of a tensor; `identity` is what the pickle calls it."""

    identity: Any


@dataclass(eq=False)
class Pickle:
    """What a pickle says: its value, and all that it would import (`names`), call, or take from outside (`stored`).

    `attributes` are those that dictionaries would get, by their identity: state dicts keep versions of modules there.
    """

    value: Any = None
    protocol: int = 0
    names: dict[Name, None] = field(default_factory=dict)
    calls: list[Made] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    attributes: dict[int, Any] = field(default_factory=dict)


def parse(file: BinaryIO) -> Pickle:
    """Follows the next pickle of a file, up to the byte after its end, and returns what it says.

    Raises `ModelError` for a pickle that is too large or takes values that it has not; a broken one raises whatever
    `pickletools` does.

    >>> import io, pickle
    >>> parsed = parse(io.BytesIO(pickle.dumps({"epoch": 3, "path": complex(1, 2)}, protocol=2)))
    >>> parsed.value["epoch"], [str(name) for name in parsed.names]
    (3, ['__builtin__.complex'])
    """
    machine, bounded = _Machine(), _Bounded(file)
    for count, (instruction, argument, _) in enumerate(pickletools.genops(cast("IO[bytes]", bounded))):
        if count > min(_MOST_INSTRUCTIONS, _FEW_INSTRUCTIONS + bounded.taken // _BYTES_EACH):
            raise ModelError(
                f"has a pickle of more than {count - 1:,} instructions for what it holds: no saved model has"
            )
        machine.follow(instruction.name, argument)
    return machine.pickle


class _Bounded:
    """A file from which one pickle may read at most `_MOST_BYTES`, whatever lengths it declares."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _MOST_BYTES

    def read(self, count: int) -> bytes:
        return self._took(self._file.read(min(count, self._left + 1)) if count >= 0 else b"")

    def readline(self) -> bytes:
        return self._took(self._file.readline(min(1 << 16, self._left + 1)))

    @property
    def taken(self) -> int:
        return _MOST_BYTES - self._left

    def _took(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise ModelError(f"has a pickle of more than {_MOST_BYTES >> 20} MB: no saved model has")
        return data


class _Machine:
    """The stack, the memo and the marks that a pickle works on: what Python's unpickler has, with nothing called."""

    def __init__(self) -> None:
        self.pickle = Pickle()
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._tuples: list[tuple[Any, ...]] = []  # Keeps them alive: `_sizes` goes by identity.
        self._largest = 1
        self._work = 0

    def follow(self, instruction: str, argument: Any) -> None:
        """Does one instruction, as far as it moves values about."""
        act = _ACTS.get(instruction)
        if act is not None:
            act(self, argument)
        elif instruction in _VALUES:
            self._stack.append(argument)
        elif instruction == "PROTO":
            self.pickle.protocol = argument
        elif instruction != "FRAME":
            raise ModelError(f"has a pickle with the instruction {instruction}: no saved model has")

    def stop(self, _: Any) -> None:
        self.pickle.value = self._stack.pop()

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
        full_name = Name(module, name)
        self.pickle.names[full_name] = None
        self._stack.append(full_name)

    def extension(self, code: int) -> None:
        self._named("copyreg", f"extension {code}")

    def call(self, what: Any, arguments: Any) -> None:
        """Notes a call, which is not made. An ordered dictionary alone is understood: it is what state dicts are."""
        inner = arguments if isinstance(arguments, tuple) else ()
        counted = sum(len(item) * self._largest for item in inner if isinstance(item, (list, dict)))
        counted += sum(len(item) >> 4 for item in inner if isinstance(item, (str, bytes, bytearray)))
        self._count(self._sizes.get(id(arguments), 1) + counted)
        made = Made(what, arguments)
        self.pickle.calls.append(made)
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
        elif isinstance(made, dict) and isinstance(state, dict):
            self.pickle.attributes[id(made)] = state

    def outside(self, identity: Any) -> None:
        self.pickle.stored.append(Stored(identity))
        self._stack.append(self.pickle.stored[-1])

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
    "STOP": _Machine.stop,
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "DUP": _Machine.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_TUPLE": lambda machine, _: machine.tuple_of([]),
    "TUPLE1": lambda machine, _: machine.tuple_of(machine.last(1)),
    "TUPLE2": lambda machine, _: machine.tuple_of(machine.last(2)),
    "TUPLE3": lambda machine, _: machine.tuple_of(machine.last(3)),
    "TUPLE": lambda machine, _: machine.tuple_of(machine.since_mark()),
    # Sets are kept as lists: nothing has to be hashed.
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_SET"), lambda machine, _: machine.push([])),
    **dict.fromkeys(("LIST", "FROZENSET"), lambda machine, _: machine.push(machine.since_mark())),
    "APPEND": lambda machine, _: machine.extend(machine.last(1)),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda machine, _: machine.extend(machine.since_mark())),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "DICT": lambda machine, _: (items := machine.since_mark(), machine.push({}), machine.update(items)),
    "SETITEM": lambda machine, _: machine.update(machine.last(2)),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _Machine.extension),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.reduce),
    "NEWOBJ_EX": _Machine.new_with_keywords,
    "INST": _Machine.instance,
    "OBJ": _Machine.object,
    "BUILD": _Machine.build,
    "PERSID": _Machine.outside,
    "BINPERSID": _Machine.outside_on_stack,
}
