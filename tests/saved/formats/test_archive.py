"""Archives of PyTorch are read in place; all others are refused before they are unpacked."""

import zipfile
from zipfile import BadZipFile

import pytest
import torch

from icshift.errors import ModelError
from icshift.saved.formats.archive import opened
from tests.saved import zoo


@pytest.fixture
def file(tmp_path):
    torch.save({"weight": torch.ones(300)}, tmp_path / "a.pt")
    return tmp_path / "a.pt"


def test_records_are_named_below_their_folder(file):
    with zipfile.ZipFile(file) as theirs:
        records = {info.filename.partition("/")[2]: theirs.read(info) for info in theirs.infolist()}
    for source in (file, file.read_bytes()):
        with opened(source) as archive:
            archive.check()
            assert archive.sizes == {name: len(content) for name, content in records.items()}
            assert all(archive.read(name) == content for name, content in records.items())
            assert archive.sizes["data/0"] == 1200


def test_a_record_that_is_not_there_is_named(file):
    with opened(file) as archive, pytest.raises(ModelError, match="lacks its record 'data/7'"):
        archive.read("data/7")


def test_changed_content_is_noticed(file):
    content = bytearray(file.read_bytes())
    at = content.index(torch.ones(300).numpy().tobytes())
    content[at] ^= 1
    with opened(bytes(content)) as archive, pytest.raises(BadZipFile):
        archive.check()


def test_a_compressed_archive_is_refused_before_it_is_unpacked(file, tmp_path):
    zoo.rezipped(file, tmp_path / "b.pt", compression=zipfile.ZIP_DEFLATED)
    with opened(tmp_path / "b.pt") as archive:
        with pytest.raises(ModelError, match="a zip bomb, damaged, or compressed"):
            archive.check()
        with pytest.raises(ModelError, match="a zip bomb, damaged, or compressed"):
            archive.read("data/0")


def test_records_elsewhere_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", b"x")
        archive.writestr("elsewhere/data.pkl", b"y")
    with opened(tmp_path / "a.pt") as archive, pytest.raises(ModelError, match="outside its folder"):
        archive.check()


def test_an_archive_of_nothing(tmp_path):
    zipfile.ZipFile(tmp_path / "a.pt", "w").close()
    with pytest.raises(ModelError, match="is an empty archive"), opened(tmp_path / "a.pt"):
        pass
