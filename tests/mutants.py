"""Files of a run, and saved models and data, as a failing disk or a stranger would leave them: each mutant by a seed.

`benchmarks/mutants.py` makes thousands, the tests a few. A mutant is a copy of a sound folder in which one thing was
changed; a command that meets it must end with exit code 0, 1 or 2, with at most one line on stderr, soon, and in little
memory.
"""

import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SECONDS = 5
"""Of CPU time that a command may take; the machine may be busy."""

MEMORY = 1 << 30
"""Bytes of memory at most."""

ODD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**300, -0.5, 1e308, float("nan"), float("inf"), "", "3", "…"),
    *("\x1b[31m\x07\n<b>", "a" * 70_000, "\ud800", [], {}, [[]], [None], {"a": None}, [0] * 1000, {"": 0}),
)
"""Values that stand in a manifest for others."""


def flip(content: bytes, chance: random.Random) -> bytes:
    """One bit of it is another."""
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _overwritten(content: bytes, chance: random.Random) -> bytes:
    place, length = chance.randrange(len(content)), chance.randrange(1, 65)
    filling = chance.choice((b"\0" * length, b"\xff" * length, chance.randbytes(length)))
    return content[:place] + filling + content[place + length :]


def _inserted(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + chance.randbytes(chance.randrange(1, 65)) + content[place:]


def _spliced(content: bytes, chance: random.Random) -> bytes:
    first, second = sorted(chance.randrange(len(content)) for _ in range(2))
    return content[:second] + content[first:]


BYTES = (flip, flip, flip, _cut, _overwritten, _inserted, _spliced)
"""Changes of a file's bytes."""


def of_bytes(file: Path, chance: random.Random) -> str:
    change = chance.choice(BYTES)
    file.write_bytes(change(file.read_bytes(), chance) if file.stat().st_size else b"\0")
    return change.__name__.strip("_")


def of_place(file: Path, chance: random.Random) -> str:
    """The file is gone, twice there, exchanged with another, or something that is no file."""
    others = [one for one in file.parent.iterdir() if one.is_file() and one != file]
    kind = chance.choice(("gone", "empty", "pipe", "socket", "zero", "folder", "loop", "twice", "exchanged", "renamed"))
    if kind == "empty":
        file.write_bytes(b"")
    elif kind == "twice" and others:
        shutil.copy(file, chance.choice(others))
    elif kind == "exchanged" and others:
        other = chance.choice(others)
        held = other.read_bytes()
        other.write_bytes(file.read_bytes())
        file.write_bytes(held)
    elif kind == "renamed" and file.suffix == ".parquet":
        file.rename(file.with_name(f"{chance.randrange(1000):06d}.rank{chance.randrange(3)}.parquet"))
    else:
        replace_with(file, kind)
    return kind


def replace_with(file: Path, kind: str) -> None:
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one, suppress(OSError):  # A path may be too long for a socket.
            one.bind(str(file))
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "folder":
        file.mkdir()
    elif kind == "loop":
        file.symlink_to(file.name)


def of_manifest(file: Path, chance: random.Random) -> str:
    """Another value somewhere in a manifest, which has no checksum then."""
    manifest = json.loads(file.read_text())
    manifest.pop("checksum", None)
    inner, key = chance.choice(list(_places(manifest)))
    value = chance.choice(ODD)
    if chance.random() < 0.15:
        del inner[key]
    else:
        inner[key] = value
    file.write_text(json.dumps(manifest))
    return f"{key}={str(value)[:12]!r}"


def _places(value):
    """Every entry of every object and list in a value."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(one, (dict, list)):
            yield from _places(one)


def of_rows(file: Path, chance: random.Random) -> str:
    """Another number, or another type, in a column of a Parquet file that has no checksums then."""
    table = pq.read_table(file, partitioning=None)
    place = chance.randrange(table.num_columns)
    name = table.column_names[place]
    kind = chance.choice(("number", "number", "type", "gone", "null", "rows", "metadata"))
    metadata = {key: one for key, one in (table.schema.metadata or {}).items() if key != b"icshift_checksums"}
    if kind == "number":
        table = table.set_column(place, name, _odd_column(table[name].to_pylist(), table[name].type, chance))
    elif kind == "type":
        table = table.set_column(place, name, pa.array([chance.choice(("a", "b")) for _ in range(len(table))]))
    elif kind == "gone":
        table = table.drop_columns([name])
    elif kind == "null":
        table = table.set_column(place, name, pa.nulls(len(table), table[name].type))
    elif kind == "rows":
        table = table.take(
            pa.array((chance.randrange(len(table)) for _ in range(chance.randrange(2 * len(table)))), pa.int64())
        )
    else:
        entry = json.loads(metadata.get(b"icshift", b'{"index": 1}'))
        inner, key = chance.choice(list(_places(entry)))
        inner[key] = chance.choice(ODD)
        metadata[b"icshift"] = json.dumps(entry).encode()
    pq.write_table(table.replace_schema_metadata(metadata), file)
    return f"{kind} {name}"


def _odd_column(values: list, kind: pa.DataType, chance: random.Random) -> pa.Array:
    place = chance.randrange(len(values)) if values else 0
    if pa.types.is_list(kind):
        inner = list(values[place] or [0])
        change = chance.choice((lambda: inner.append(inner[0] if inner else 1), inner.clear, inner.reverse))
        change()
        values[place] = inner
    elif pa.types.is_floating(kind):
        values[place] = chance.choice((-1.0, 2.0, float("nan"), float("inf"), float("-inf"), 1e300, 0.0))
    elif pa.types.is_integer(kind):
        values[place] = chance.choice((-1, -5, 0, 1, 77, 2**31 - 1))
    else:
        values[place] = chance.choice(("", "\x1b[31m", "a\nb", "train", "x" * 5000, "\u202e"))
    return pa.array(values, kind)


def mutate(folder: Path, chance: random.Random) -> str:
    """Change one thing in a folder; returns what."""
    file = chance.choice([one for one in sorted(folder.rglob("*")) if one.is_file()])
    kinds = [of_bytes, of_bytes, of_place]
    kinds += [of_manifest] * 3 if file.name == "run.json" else []
    kinds += [of_rows] * 2 if file.suffix == ".parquet" and file.parent != folder else []
    return f"{file.relative_to(folder)}: {chance.choice(kinds)(file, chance)}"


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative: by a signal), what it said, CPU seconds and bytes of memory."""

    code: int
    out: str
    err: str
    seconds: float
    memory: int
    raw: bool = False
    """Whether it was to print names as they are, as a file of CSV into a pipe has them."""

    def faults(self) -> list[str]:
        """What it must not do, in words; none where all is well."""
        found = [] if self.code in (0, 1, 2) else [f"exit {self.code}"]
        found += ["traceback"] if "Traceback" in self.err else []
        found += [f"{self.err.count(chr(10))} lines"] if self.err.count("\n") > 1 else []
        found += [f"{self.seconds:.1f} s"] if self.seconds > SECONDS else []
        found += [f"{self.memory / 1e6:.0f} MB"] if self.memory > MEMORY else []
        said = self.err if self.raw else self.out + self.err
        found += ["escapes"] if any(sign in said for sign in "\x1b\x07\x9b") else []
        return found


def outcome(run: Callable[[], int], folder: Path, wall: float = 300.0) -> Outcome:
    """Run something in a fork of this process, within a folder; it is stopped where it takes far too long."""
    out, err = (folder.with_name(f"{folder.name}.{name}") for name in ("out", "err"))
    child = os.fork()
    if not child:
        _in_child(run, folder, (out, err), wall)
    end = time.monotonic() + wall
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.002)
    told = [file.read_bytes().decode(errors="replace") if file.exists() else "" for file in (out, err)]
    for file in (out, err):
        file.unlink(missing_ok=True)
    return Outcome(os.waitstatus_to_exitcode(status), *told, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss)


def _in_child(run: Callable[[], int], folder: Path, told: tuple[Path, Path], wall: float) -> None:
    code = 99
    try:
        os.chdir(folder)
        for number, file in enumerate(told, 1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
        if wall <= 300:
            resource.setrlimit(resource.RLIMIT_CPU, (3 * SECONDS, 3 * SECONDS + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            code = run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        except BaseException:  # noqa: BLE001
            sys.excepthook(*sys.exc_info())
            code = 97
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def numbers_of(path: Path) -> list[np.ndarray]:
    """Every number of a run: of its windows, its steps, its series, and how far it came."""
    from icshift.runs.reader import StoredRun

    run = StoredRun(path)
    tables = [run.windows(), run.steps(), run.gradient_shift(), run.smoothness(), run.logged()]
    windows = [(one.first_step, one.last_step, one.parameter_change or 0.0) for one in run.window_list]
    sites = [(one.name, one.units, one.axis, one.kept, one.feeds, one.others, one.follows) for one in run.sites]
    parts = [part for one in run.window_list for part in run._load(one.index).values()]
    told = [np.array([str(one) for one in (*windows, *sites, sorted(map(str, run.manifest.items())), run.missing)])]
    for part in parts:
        told += [part.values, *([] if part.blocks is None else [part.blocks.slices, part.blocks.sampled])]
    return told + [table[name].to_numpy() for table in tables for name in table]


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Whether two runs hold the same."""
    return len(one) == len(other) and all(
        a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())  # noqa: PLR0124
        for a, b in zip(one, other, strict=True)
    )
