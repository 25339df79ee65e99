"""Damage of every kind to a saved model, the same each time for a seed."""

import random
import shutil
import zipfile
from pathlib import Path

from tests.saved import attempts

_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, (1 << 64) - 1)


def flip(content, chance):
    """A few bits, anywhere."""
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def flip_early_or_late(content, chance):
    """A few bits where headers and directories are."""
    near = min(len(content), 400)
    for _ in range(chance.choice((1, 2, 4))):
        at = chance.randrange(near)
        content[at if chance.random() < 0.5 else len(content) - 1 - at] ^= 1 << chance.randrange(8)


def truncate(content, chance):
    """The end is missing, or the beginning."""
    at = chance.choice((chance.randrange(len(content)), len(content) - 1, chance.randrange(min(64, len(content)))))
    if chance.random() < 0.8:
        del content[at:]
    else:
        del content[:at]


def splice(content, chance):
    """A piece put somewhere else, over what is there or between it."""
    start = chance.randrange(len(content))
    piece = content[start : start + chance.choice((1, 4, 16, 200, 2000))]
    at = chance.randrange(len(content))
    content[at : at + (len(piece) if chance.random() < 0.5 else 0)] = piece


def insert(content, chance):
    """Bytes that were never there."""
    at = chance.randrange(len(content))
    content[at:at] = chance.randbytes(chance.choice((1, 3, 8, 100)))


def edit_number(content, chance):
    """A number of one to eight bytes set to an extreme, or a little off."""
    width = chance.choice((1, 2, 4, 8))
    at = chance.randrange(max(1, len(content) - width))
    here = int.from_bytes(content[at : at + width], "little")
    value = chance.choice((*_EXTREMES, here + 1, here - 1, here * 2, len(content))) % (1 << 8 * width)
    content[at : at + width] = value.to_bytes(width, "little")


def edit_length(content, chance):
    """A number where one is: after the signs of a zip archive, or in the header of safetensors."""
    signs = [
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b"PK\x07\x08",
        b"X",
        b"\x8a",
        b"r",
    ]
    places = [at for sign in signs for at in _places(content, sign)] or [0]
    at = chance.choice(places) + chance.choice((0, 1, 2, 4, 8, 10, 12, 14, 18, 20, 22, 24, 26, 28, 30, 42))
    width = chance.choice((1, 2, 4, 8))
    content[at : at + width] = (chance.choice(_EXTREMES) % (1 << 8 * width)).to_bytes(width, "little")


def edit_digits(content, chance):
    """A number in text, as in headers of JSON, made longer, negative or nothing."""
    places = [at for at, byte in enumerate(content) if 48 <= byte <= 57] or [0]
    at = chance.choice(places)
    content[at : at + 1] = chance.choice((b"", b"-1", b"9", b"99999", b"1e9", b"9" * 30, b'"x"', b"null", b"[[["))


def wipe(content, chance):
    """Zeros over a part."""
    at, length = chance.randrange(len(content)), chance.choice((4, 64, 1000))
    content[at : at + length] = bytes(len(content[at : at + length]))


def repeat(content, chance):
    """All of it twice, or a part of it at the end."""
    content += content[chance.choice((0, chance.randrange(len(content)))) :]


KINDS = (flip, flip_early_or_late, truncate, splice, insert, edit_number, edit_length, edit_digits, wipe, repeat)


def attempt(*, source, seed, target, build=False, inside=False):
    """Damages a copy of a saved model and tries to use it; `inside` a record of an archive, checksum redone."""
    chance = random.Random(f"{Path(source).name} {seed}")
    source, target = Path(source), Path(target)
    path = target / source.name
    file = path
    if source.is_dir():
        shutil.copytree(source, path)
        file = path / chance.choice(sorted(inner.name for inner in source.iterdir()))
    else:
        shutil.copy(source, path)
    used = chance.choice(KINDS)
    if inside:
        _damage_record(file, used, chance)
    else:
        content = bytearray(file.read_bytes())
        used(content, chance)
        file.write_bytes(content)
    before = attempts.tree(target)
    outcome = attempts.attempt(path, build=build)
    if attempts.tree(target) != before:
        outcome = {"outcome": "failed", "line": f"wrote: {before} became {attempts.tree(target)}", "seconds": 0}
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return outcome | {"kind": used.__name__, "changed": file.name}


def _damage_record(file, used, chance):
    """Damage that no checksum tells of: mostly to the pickle or the table, which say what the rest is."""
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: bytearray(archive.read(info)) for info in archive.infolist()}
    telling = [name for name in records if name.endswith(("data.pkl", ".json", "model.pt", "byteorder"))]
    name = chance.choice(telling if chance.random() < 0.8 else [name for name in records if records[name]])
    used(records[name], chance)
    with zipfile.ZipFile(file, "w") as archive:
        for record, content in records.items():
            archive.writestr(record, bytes(content))


def _places(content, sign):
    at = content.find(sign)
    while at >= 0:
        yield at
        at = content.find(sign, at + 1)
