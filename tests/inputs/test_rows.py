"""Of arrays in files no more rows are read than are asked for, and they are the same as of arrays in memory."""

import io
import tracemalloc
import zipfile
from zipfile import BadZipFile

import numpy as np
import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.inputs import rows
from icshift.inputs.data import Reading, as_data, read_data

VALUES = np.arange(300, dtype=np.float32).reshape(100, 3)


def saved(path, kind, **arrays):
    file = path / f"data.{'npy' if kind == 'npy' else 'npz'}"
    if kind == "npy":
        np.save(file, next(iter(arrays.values())))
    else:
        (np.savez_compressed if kind == "compressed" else np.savez)(file, **arrays)
    return file


@pytest.mark.some(24)
@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
@pytest.mark.parametrize("limit", [1, 7, 99, 100, 200, None])
@pytest.mark.parametrize("values", [VALUES, np.asfortranarray(VALUES), VALUES.astype(">u2"), VALUES[:, 0]], ids=str)
def test_a_file_gives_the_examples_that_its_array_gives(tmp_path, kind, limit, values):
    model, reading = nn.Linear(3, 1), Reading(batch_size=16, limit=limit)
    found = read_data(str(saved(tmp_path, kind, input=values)), model, reading)
    expected = as_data({"input": values}, model, reading)
    assert found.examples == expected.examples
    assert all(torch.equal(a, b) for a, b in zip(found.tensors(), expected.tensors(), strict=True))
    assert found.fingerprint == expected.fingerprint


def test_arrays_of_several_lengths_are_read_whole(tmp_path):
    file = saved(tmp_path, "npz", input=VALUES, more=VALUES[:50], scale=np.array(2.0))
    found = rows.of_npz(file, 10)
    assert {name: len(array) for name, array in found.items() if array.ndim} == {"input": 100, "more": 50}
    assert {name: array.shape for name, array in rows.of_npz(file, 60).items()} == {
        "input": (60, 3),
        "more": (50, 3),
        "scale": (),
    }


def test_rows_of_one_archive_stay_together(tmp_path):
    found = rows.of_npz(saved(tmp_path, "npz", input=VALUES, target=VALUES[:, 0]), 10)
    assert (found["input"][:, 0] == found["target"]).all()


@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_file_that_ends_early_is_refused(tmp_path, kind):
    file = saved(tmp_path, kind, input=VALUES)
    whole = file.read_bytes()
    file.write_bytes(whole[:-300] if kind == "npy" else whole.replace(b"(100, 3)", b"(900, 3)"))
    with pytest.raises((ModelError, BadZipFile), match=r"damaged|CRC"):
        (rows.of_npy if kind == "npy" else rows.of_npz)(file, 5)


def test_a_small_archive_of_many_rows_takes_little_memory(tmp_path):
    """Of 160 MB that 160 kB stand for, one is asked for."""
    file = saved(tmp_path, "compressed", input=np.zeros((40_000, 1000), np.float32))
    assert file.stat().st_size < 200_000
    tracemalloc.start()
    found = rows.of_npz(file, 256)["input"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.shape == (256, 1000)
    assert peak < 30e6


def test_of_very_many_rows_only_those_asked_for_are_drawn():
    found = rows.drawn(1 << 40, 1000)
    assert len(set(found.tolist())) == 1000
    assert found.max() < 1 << 40
    assert (found == rows.drawn(1 << 40, 1000)).all()


def archive(path, name, arrays, *, method=zipfile.ZIP_DEFLATED):
    """Arrays of zeros by name, of whatever shape, or what a header of this shape declares, without the array."""
    with zipfile.ZipFile(path / name, "w", method) as file:
        for inner, (shape, there) in arrays.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
            file.writestr(inner, header.getvalue() + bytes(there))
    return path / name


BOMBS = {
    "no numbers": ({"input.npy": ((10**12, 0), 0)}, "in which there is no number"),
    "not there": ({"input.npy": ((10**10, 4), 64)}, "damaged or cut short"),
    "many": ({f"a{number}.npy": ((2, 4), 32) for number in range(1001)}, "1,001 arrays"),
    "zeros": ({f"a{number}.npy": ((1 << 24, 1), 1 << 26) for number in range(5)}, "made to take all memory"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_an_archive_made_to_deceive_is_refused(tmp_path, kind):
    arrays, expected = BOMBS[kind]
    file = archive(tmp_path, "a.npz", arrays)
    with pytest.raises(ModelError, match=expected):
        rows.of_npz(file)
    if kind != "zeros":  # In part it is read.
        with pytest.raises(ModelError, match=expected):
            rows.of_npz(file, 10)


@pytest.mark.parametrize("limit", [None, 10])
def test_an_array_of_rows_without_numbers_is_refused(tmp_path, limit):
    np.save(tmp_path / "a.npy", np.zeros((10**12, 0)))
    with pytest.raises(ModelError, match="in which there is no number"):
        rows.of_npy(tmp_path / "a.npy", limit)


def test_what_numpy_does_not_write_is_refused(tmp_path):
    """Bytes of zeros that bzip2 packs to nothing take minutes to unpack."""
    file = archive(tmp_path, "a.npz", {"input.npy": ((2, 4), 32)}, method=zipfile.ZIP_BZIP2)
    with pytest.raises(ModelError, match="NumPy did not write"):
        rows.of_npz(file)
