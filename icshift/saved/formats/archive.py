"""Zip archives as PyTorch writes them: read in place, never unpacked.

PyTorch stores records as they are, all of them in one folder. An archive that is compressed, or declares more bytes
than it has, was made by something else and is refused before anything is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from icshift import regular
from icshift.errors import ModelError
from icshift.saved.formats.zip_layout import refuse_ambiguity

_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Archive:
    """An open archive: `sizes` has the bytes of each record, by its name below the folder that holds all of them."""

    sizes: dict[str, int]
    _root: str
    _zip: ZipFile
    _bytes: int

    def read(self, record: str) -> bytes:
        """The content of a record. Raises `ModelError` where there is none, `BadZipFile` where its checksum differs."""
        if record not in self.sizes:
            raise ModelError(f"lacks its record {record!r}: damaged or cut short")
        info = self._zip.getinfo(self._root + record)
        if info.compress_type != ZIP_STORED or info.file_size > self._bytes:
            raise ModelError(self._bomb())
        return self._zip.read(info)

    def check(self) -> None:
        """Raises `ModelError` for an archive that unpacks into more than is there, or holds records outside its folder.

        Reads every record once, so that `BadZipFile` is raised for content that differs from its checksum. Where
        PyTorch was told to write no checksums they are zero, and nothing is compared.
        """
        infos = self._zip.infolist()
        stored = all(info.compress_type == ZIP_STORED and info.compress_size == info.file_size for info in infos)
        if not stored or sum(info.file_size for info in infos) > self._bytes:
            raise ModelError(self._bomb())
        if len(infos) != len(self.sizes):
            raise ModelError("holds records outside its folder: damaged, or made to deceive")
        for info in infos:
            with self._zip.open(info) as record:
                while record.read(_CHUNK):
                    pass

    def _bomb(self) -> str:
        """What is wrong with an archive that unpacks into more than is there, for a message."""
        declared = sum(info.file_size for info in self._zip.infolist())
        return (
            f"unpacks to {declared:,} bytes from {self._bytes:,}: a zip bomb, damaged, or compressed by something other"
            " than torch.save, which stores as it is; save it with torch.save"
        )


@contextmanager
def opened(source: Path | bytes) -> Iterator[Archive]:
    """A block with the archive in a file or in bytes.

    Raises `ModelError` for one without records, and for one in which PyTorch might find other records.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    with BytesIO(source) if isinstance(source, bytes) else regular.opened(source) as file, ZipFile(file) as archive:
        infos = archive.infolist()
        if not infos:
            raise ModelError("is an empty archive")
        refuse_ambiguity(file, size)
        first, slash, _ = infos[0].filename.partition("/")
        root = first + slash if slash else ""
        for info in infos:
            if info.CRC == 0:
                del info.CRC  # The module then compares nothing.
        sizes = {info.filename.removeprefix(root): info.file_size for info in infos if info.filename.startswith(root)}
        yield Archive(sizes, root, archive, size)
