"""Files of torch.save: what PyTorch reads back, and what is refused before PyTorch sees it."""

import io
import os
import pickle
from argparse import Namespace

import pytest
import torch

from icshift.errors import ModelError
from icshift.saved.formats import pickled
from tests.saved import zoo

CONTENT = {"epoch": 3, "model": {"weight": torch.arange(4.0), "steps": torch.tensor(7)}, "name": "a"}


def save(path, content=CONTENT, **options):
    torch.save(content, path, **options)
    return path


KINDS = {"torch": {}, "legacy": {"_use_new_zipfile_serialization": False}}


@pytest.mark.parametrize("kind", KINDS)
def test_the_content_is_what_pytorch_reads(kind, tmp_path):
    path = save(tmp_path / "a.pt", **KINDS[kind])
    ours, theirs = pickled.read(path, kind, unsafe=False), torch.load(path, weights_only=True)
    assert (ours["epoch"], ours["name"]) == (theirs["epoch"], theirs["name"])
    assert all(torch.equal(ours["model"][name], theirs["model"][name]) for name in theirs["model"])
    assert pickled.glanced(path, kind)["epoch"] == 3


def test_a_file_within_a_file(tmp_path):
    content = save(tmp_path / "a.pt").read_bytes()
    assert torch.equal(pickled.read_bytes(content)["model"]["weight"], torch.arange(4.0))


@pytest.mark.parametrize("kind", KINDS)
def test_code_is_named_and_not_run(kind, tmp_path):
    marker = tmp_path / "ran"
    path = save(tmp_path / "a.pt", {"model": zoo.Armed(os.mkdir, str(marker))}, **KINDS[kind])
    with pytest.raises(ModelError, match=r"runs code: it needs posix\.mkdir"):
        pickled.read(path, kind, unsafe=False)
    assert not marker.exists()
    pickled.read(path, kind, unsafe=True)
    assert marker.exists()


def test_a_class_that_is_not_here_is_named(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02cno_such_module\nThing\n)R.")
    with pytest.raises(ModelError, match=r"needs a class that is not here \(ModuleNotFoundError.*no_such_module"):
        pickled.read(tmp_path / "a.pkl", "pickle", unsafe=True)


def test_a_pickle_of_somebody_else_needs_the_flag(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"epoch": 3}))
    with pytest.raises(ModelError, match=r"none of torch\.save"):
        pickled.read(tmp_path / "a.pkl", "pickle", unsafe=False)
    assert pickled.read(tmp_path / "a.pkl", "pickle", unsafe=True) == {"epoch": 3}


def test_harmless_names_with_harmful_arguments_are_refused(tmp_path):
    # bytearray(1 << 40): a terabyte.
    bomb = b"\x80\x02c__builtin__\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R."
    assert pickle.loads(bomb.replace(b"\x00\x00\x00\x00\x00\x01", b"\x01\x00\x00\x00\x00\x00")) == bytearray(1)
    content = save(tmp_path / "a.pt").read_bytes()
    (tmp_path / "a.pt").write_bytes(content)
    zoo.rezipped(tmp_path / "a.pt", tmp_path / "b.pt", data_DOT_pkl=bomb)
    with pytest.raises(ModelError, match="as no state dict does"):
        pickled.read(tmp_path / "b.pt", "torch", unsafe=False)


def test_a_storage_that_is_too_short_is_refused(tmp_path):
    zoo.rezipped(save(tmp_path / "a.pt"), tmp_path / "b.pt", data__0=b"short")
    with pytest.raises(ModelError, match="declares 16 bytes of tensor '0' where 5 are"):
        pickled.read(tmp_path / "b.pt", "torch", unsafe=False)


def test_bytes_after_an_old_file_are_refused(tmp_path):
    path = save(tmp_path / "a.pt", **KINDS["legacy"])
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ModelError, match="bytes of tensors where"):
        pickled.read(path, "legacy", unsafe=False)


def test_plain_values_beside_the_weights_stand_as_empty_objects():
    buffer = io.BytesIO()
    torch.save({"options": Namespace(rate=0.1), "weight": torch.ones(2)}, buffer)
    content = pickled.read_bytes(buffer.getvalue())
    assert torch.equal(content["weight"], torch.ones(2))
    assert not hasattr(content["options"], "rate")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_exchanged_after_it_was_checked_is_refused(kind, tmp_path, monkeypatch):
    path = save(tmp_path / "a.pt", **KINDS[kind])
    other = save(tmp_path / "b.pt", {"model": {"weight": torch.zeros(4)}}, **KINDS[kind])
    monkeypatch.setattr(pickled, "_refuse_protocol", lambda _: other.replace(path))
    with pytest.raises(ModelError, match="changed while it was read"):
        pickled.read(path, kind, unsafe=False)
