"""Whether a zip archive can be read in one way only.

Python's `zipfile` looks at an archive before PyTorch loads it, and the two do not find its records in the same way:
one takes the zip64 end record that lies before its locator, the other goes where the locator points; one applies names
from extra fields, ends names at a zero byte and minds capitals, the other does not. An archive made to deceive shows
other records to each. What `torch.save` writes leaves no room for that, and nothing else is let through: records one
after the other without gaps, then their directory, then its end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from icshift.errors import ModelError

_LOCAL = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")

_ZIP64 = 0x0001
_RENAMING = (0x7075, 0x6375)
"""Extra fields in which Info-ZIP keeps another name, or comment, in Unicode."""

_DESCRIBED = 0x08
"""The flag of records that are followed by a description: a checksum and two sizes, of 4 or 8 bytes, often marked."""

_DESCRIPTIONS = (12, 16, 20, 24)

_FULL = 0xFFFFFFFF
"""A number of four bytes that stands for "see the extra field"."""


def refuse_ambiguity(file: BinaryIO, size: int) -> None:
    """Raises `ModelError` for an archive of so many bytes that two readers may read differently, and for a broken one.

    The sizes and offsets that the directory gives are compared with what is in the file; contents are not read.
    """
    start, end, count = _directory(file, size)
    file.seek(start)
    content = file.read(end - start)
    records, names = [], set()
    for name, offset, stored, described in _entries(content):
        folded = name.lower()
        if folded in names or b"\0" in name:
            raise ModelError(f"holds the record {name[:80]!r} twice (capitals do not count), or in part: {_MADE}")
        names.add(folded)
        records.append((offset, stored, described, name))
    if len(records) != count:
        raise ModelError(f"declares {count:,} records and lists {len(records):,}: {_MADE}")
    _refuse_gaps(file, sorted(records), start)


_MADE = "damaged, or made to deceive"


def _directory(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """Returns where the directory begins and ends, and the number of its entries."""
    before = _END.size + _LOCATOR.size + _END64.size
    file.seek(max(0, size - before))
    tail = file.read(before).rjust(before, b"\0")
    sign, disk, disk_of_directory, here, entries, length, start, comment = _END.unpack(tail[-_END.size :])
    if sign != b"PK\5\6" or comment:
        raise ModelError(f"is an archive that does not end with its directory: cut short, added to, or {_MADE}")
    end = size - _END.size
    locator = _LOCATOR.unpack(tail[_END64.size : -_END.size])
    if locator[0] == b"PK\6\7":
        end -= _LOCATOR.size + _END64.size
        large = _END64.unpack(tail[: _END64.size])
        told = (entries, here, length, start)
        sign, rest, _, _, disk, disk_of_directory, here, entries, length, start = large
        ours = zip(told, (entries, here, length, start), (0xFFFF, 0xFFFF, _FULL, _FULL), strict=True)
        if (
            locator[2] != end
            or sign != b"PK\6\6"
            or rest != _END64.size - 12
            or any(a not in (b, f) for a, b, f in ours)
        ):
            raise ModelError(f"is an archive with two ends that disagree: {_MADE}")
    if disk or disk_of_directory or here != entries or start + length != end:
        raise ModelError(f"is an archive whose directory is not where its end says: {_MADE}")
    return start, end, entries


def _entries(directory: bytes) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yields the name of each record, where it begins, its stored bytes, and whether a description follows it."""
    place = 0
    while place < len(directory):
        if place + _ENTRY.size > len(directory):
            raise ModelError(f"is an archive with a directory that is cut short: {_MADE}")
        sign, _, _, flags, _, _, _, _, stored, whole, name, extra, comment, *_, offset = _ENTRY.unpack_from(
            directory, place
        )
        first = place + _ENTRY.size
        place = first + name + extra + comment
        if sign != b"PK\1\2" or place > len(directory):
            raise ModelError(f"is an archive with a directory that is cut short: {_MADE}")
        fields = _extra(directory[first + name : first + name + extra])
        numbers = [whole, stored, offset]
        wide = fields.get(_ZIP64, b"")
        large = struct.iter_unpack("<Q", wide[: len(wide) // 8 * 8])
        for which, number in enumerate(numbers):
            if number == _FULL:
                numbers[which] = next(large, (_FULL,))[0]
        yield directory[first : first + name], numbers[2], numbers[1], bool(flags & _DESCRIBED)


def _extra(content: bytes) -> dict[int, bytes]:
    """Returns the extra fields of a record by their kind."""
    fields: dict[int, bytes] = {}
    place = 0
    while place < len(content):
        kind, length = struct.unpack_from("<2H", content.ljust(place + 4, b"\0"), place)
        place += 4 + length
        if place > len(content) or kind in fields or kind in _RENAMING:
            raise ModelError(f"is an archive with records of two names: {_MADE}")
        fields[kind] = content[place - length : place]
    return fields


def _refuse_gaps(file: BinaryIO, records: list[tuple[int, int, bool, bytes]], end: int) -> None:
    """Raises `ModelError` where records do not follow one another up to `end`, or are not named as listed."""
    begins = [offset for offset, *_ in records]
    for (offset, stored, described, name), after in zip(records, [*begins[1:], end], strict=True):
        file.seek(offset)
        header = file.read(_LOCAL.size + len(name))
        if len(header) < _LOCAL.size + len(name) or header[:4] != b"PK\3\4" or header[_LOCAL.size :] != name:
            raise ModelError(f"lists the record {name[:80]!r} where it is not: {_MADE}")
        length, extra = _LOCAL.unpack(header[: _LOCAL.size])[-2:]
        left = after - offset - _LOCAL.size - length - extra - stored
        if length != len(name) or left not in (_DESCRIPTIONS if described else (0,)):
            raise ModelError(f"has bytes beside the record {name[:80]!r} that belong to none: {_MADE}")
    if not records or records[0][0]:
        raise ModelError(f"has bytes before its first record: {_MADE}")
