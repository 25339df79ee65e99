"""Of arrays in files no more rows are read than are asked for, and they are the same as of arrays in memory."""

import tracemalloc
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
