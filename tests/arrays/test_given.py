"""Arrays of rows from memory and files, and files that were made to deceive."""

import io
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch

from icshift.arrays.given import given, read
from icshift.errors import ModelError

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize(
    "what",
    [
        ROWS,
        ROWS.astype(np.float16),
        ROWS.astype(np.int16),
        ROWS.astype(">f4"),
        torch.tensor(ROWS, requires_grad=True),
        torch.tensor(ROWS, dtype=torch.bfloat16),
        pd.DataFrame(ROWS, columns=["p", "q"]),
    ],
    ids=["float32", "float16", "int16", "big-endian", "tensor", "bfloat16", "frame"],
)
def test_rows_from_memory(what):
    found = given(what, "x").arrays[""]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, ROWS)


def test_what_float32_does_not_hold_stays_whole():
    assert given(np.array([2**40 + 1]), "x").arrays[""][0, 0] == 2**40 + 1
    assert given({"fc": [0.1, 0.2]}, "x").arrays["fc"].dtype == np.float64


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet"])
def test_rows_from_files(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, ROWS)
    elif suffix == ".npz":
        np.savez_compressed(path, fc=ROWS)
    else:
        pd.DataFrame(ROWS, columns=["p", "q"]).to_parquet(path)
    found = given(str(path), "x")
    ((name, rows),) = found.arrays.items()
    np.testing.assert_array_equal(rows, ROWS)
    assert (name, found.units) == {".npz": ("fc", {}), ".npy": ("", {})}.get(suffix, ("", {"": ["p", "q"]}))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\): expected \[rows, units\]"),
        (np.zeros((0, 3)), "at least one row"),
        (np.array(["a"]), "expected numbers"),
        (np.array([{}]), "expected numbers"),
    ],
)
def test_what_has_no_rows_is_refused(what, said):
    with pytest.raises(ModelError, match=said):
        given(what, "the first array")


def refused(path, said):
    with pytest.raises(ModelError, match=said) as caught:
        read(path)
    assert path.name in str(caught.value)


def test_files_that_are_none(tmp_path):
    refused(tmp_path / "none.npy", "no such file")
    refused(tmp_path / "x.txt", r"expected a file \.npz, \.npy, \.parquet")
    os.mkfifo(tmp_path / "pipe.npz")
    refused(tmp_path / "pipe.npz", "no regular file")
    for suffix in (".npz", ".npy", ".parquet"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"PK\x03\x04 and no more")
        refused(path, "cannot be read as")


def test_objects_are_not_read(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    np.savez(tmp_path / "o.npz", o=np.array([{}]))
    refused(tmp_path / "o.npy", "objects")
    refused(tmp_path / "o.npz", "objects")


def test_a_small_file_that_declares_much_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("icshift.arrays.given._LEAST", 2**22)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (2**34, 8)})
    (tmp_path / "much.npy").write_bytes(header.getvalue())
    refused(tmp_path / "much.npy", "cannot be read as .npy")
    with zipfile.ZipFile(tmp_path / "much.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())
    refused(tmp_path / "much.npz", "declares")
    with (
        zipfile.ZipFile(tmp_path / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as file,
    ):
        for _ in range(5):
            file.write(bytes(2**20))
    refused(tmp_path / "zeros.npz", "made to deceive")


def test_columns_of_words_are_refused(tmp_path):
    pd.DataFrame({"p": [1.0], "q": ["a"]}).to_parquet(tmp_path / "w.parquet")
    refused(tmp_path / "w.parquet", "column 'q' holds")


@pytest.mark.parametrize("damage", [b"\xff" * 40, b"(((("])
def test_a_damaged_archive_is_refused_in_one_line(damage, tmp_path):
    """Also where it is not the archive that is damaged, but what is packed in it, or the header of an array."""
    path = tmp_path / "a.npz"
    if damage == b"((((":
        np.savez(path, x=np.zeros((3, 2)))
        path.write_bytes(path.read_bytes().replace(b"{'descr'", b"((((escr"))
    else:
        np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(50, 4)))
        content = bytearray(path.read_bytes())
        content[200:240] = damage
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"cannot be read as \.npz"):
        read(path)
