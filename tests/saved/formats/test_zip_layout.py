"""Archives in which PyTorch would load other records than were looked at are refused, each shown to be such a one."""

import io
import struct
import zipfile

import pytest
import torch

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.formats.zip_layout import refuse_ambiguity
from icshift.saved.load import load
from tests.saved import zoo

SHOWN, HIDDEN = 1.0, 7.0


def saved(value):
    file = io.BytesIO()
    torch.save({"weight": torch.full((3,), value)}, file)
    return file.getvalue()


def parts(content):
    """What an archive of torch.save consists of: its records, its directory, and its ends."""
    place = len(content) - 22
    start = struct.unpack_from("<L", content, place + 16)[0]
    size = struct.unpack_from("<L", content, place + 12)[0]
    return content[:start], content[start : start + size], content[start + size :]


def moved(directory, by):
    """The directory of records that lie so many bytes later."""
    out, place = bytearray(directory), 0
    while place < len(directory):
        name, extra, comment = struct.unpack_from("<3H", directory, place + 28)
        offset = struct.unpack_from("<L", directory, place + 42)[0]
        struct.pack_into("<L", out, place + 42, offset + by)
        place += 46 + name + extra + comment
    return bytes(out)


def ended(directory, start, *, locator_to=None, comment=b""):
    """A directory with ends that lead to it, the zip64 locator to another place where one is given."""
    count = directory.count(b"PK\1\2")
    where = start + len(directory)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, where if locator_to is None else locator_to, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, len(comment)) + comment
    return directory, end64, locator + end


def two_ends():
    """Python takes the end record before the locator, PyTorch the one that the locator leads to."""
    shown, hidden = parts(saved(SHOWN)), parts(saved(HIDDEN))
    records = shown[0] + hidden[0]
    theirs = b"".join(ended(moved(hidden[1], len(shown[0])), len(records))[:2])
    locator_to = len(records) + len(theirs) - 56
    return records + theirs + b"".join(ended(shown[1], len(records) + len(theirs), locator_to=locator_to))


def capitals():
    """PyTorch does not tell capitals from small letters."""
    file, shown, hidden = (io.BytesIO(), *(zipfile.ZipFile(io.BytesIO(saved(value))) for value in (SHOWN, HIDDEN)))
    with shown, hidden, zipfile.ZipFile(file, "w") as both:
        for info in shown.infolist():
            both.writestr(info, shown.read(info))
            if info.filename.endswith("data/0"):
                both.writestr(info.filename.replace("data/0", "DATA/0"), hidden.read(info.filename))
    return file.getvalue()


def renamed():
    """From Python 3.12 on `zipfile` takes the names in these fields."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(SHOWN))) as shown, zipfile.ZipFile(file, "w") as out:
        for info in shown.infolist():
            entry = zipfile.ZipInfo(info.filename)
            name = info.filename.encode()
            if info.filename.endswith("data/0"):
                entry.extra = struct.pack("<2HBL", 0x7075, 5 + len(name), 1, zipfile.crc32(name)) + name
            out.writestr(entry, shown.read(info))
    return file.getvalue()


def gap():
    """Bytes between the records and their directory."""
    records, directory, _ = parts(saved(SHOWN))
    return records + bytes(64) + b"".join(ended(directory, len(records) + 64))


def before():
    records, directory, _ = parts(saved(SHOWN))
    return b"PK\3\4" + bytes(60) + records + b"".join(ended(moved(directory, 64), 64 + len(records)))


def behind():
    return saved(SHOWN) + b"more"


def comment():
    records, directory, _ = parts(saved(SHOWN))
    return records + b"".join(ended(directory, len(records), comment=b"PK\5\6" + bytes(18)))


def zero_byte():
    return saved(SHOWN).replace(b"/data/0", b"/data\0000"[:7])


def lists_more():
    content = bytearray(saved(SHOWN))
    struct.pack_into("<2H", content, len(content) - 14, 99, 99)
    return bytes(content)


def loads_by_torch(content):
    return torch.load(io.BytesIO(content), weights_only=True)["weight"][0].item()


@pytest.mark.parametrize("make", [two_ends, capitals])
def test_pytorch_would_load_what_nobody_looked_at(make):
    content = make()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/data/0"))
        assert struct.unpack("<3f", archive.read(name)) == (SHOWN,) * 3
    assert loads_by_torch(content) == HIDDEN


ATTACKS = [two_ends, capitals, renamed, gap, before, behind, comment, zero_byte, lists_more]


@pytest.mark.parametrize("make", ATTACKS)
def test_it_is_refused_in_one_line(make, tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(make())
    with pytest.raises(ModelError) as raised:
        load(*find([path]))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("make", [two_ends, capitals, renamed, gap, before, comment, zero_byte, lists_more])
def test_by_the_layout_alone(make):
    content = make()
    with pytest.raises(ModelError, match="deceive"):
        refuse_ambiguity(io.BytesIO(content), len(content))


@pytest.mark.some(20)
@pytest.mark.parametrize("cut", range(1, 400, 7))
def test_a_file_that_is_cut_short_is_refused(cut):
    content = saved(SHOWN)[:-cut]
    with pytest.raises(ModelError):
        refuse_ambiguity(io.BytesIO(content), len(content))


def test_what_pytorch_and_python_write_is_let_through(tmp_path):
    torch.save({"weight": torch.ones(3), "more": [torch.ones(n) for n in range(70)]}, tmp_path / "a.pt")
    zoo.rezipped(tmp_path / "a.pt", tmp_path / "b.pt", compression=zipfile.ZIP_STORED)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "c.pt")
    with zipfile.ZipFile(tmp_path / "d.pt", "w") as archive, archive.open("a/large", "w", force_zip64=True) as file:
        file.write(b"as for more than four gigabytes")
    for path in sorted(tmp_path.iterdir()):
        with path.open("rb") as file:
            refuse_ambiguity(file, path.stat().st_size)
