"""Every kind of file as arrays, and numbers of every kind as tensors."""

import builtins

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from icshift.errors import ModelError
from icshift.inputs.data import Reading, read_data
from icshift.inputs.files import READERS, as_tensor
from tests.saved import arsenal

VALUES = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("u1", torch.uint8),
        ("u2", torch.int64),
        (">u4", torch.int64),
        (">i4", torch.int32),
        (">f4", torch.float32),
        ("f2", torch.float16),
        ("g", torch.float64),
        ("c8", torch.complex64),
        ("?", torch.bool),
    ],
)
def test_numbers_of_every_kind(dtype, expected):
    array = np.array([[0, 1], [1, 0]], dtype)
    for order in (array, np.asfortranarray(array), array[::-1][::-1]):
        tensor = as_tensor(order, "it")
        assert tensor.dtype == expected
        assert tensor.tolist() == array.tolist()


def test_a_tensor_is_itself_and_a_list_is_numbers():
    tensor = torch.zeros(2)
    assert as_tensor(tensor, "it") is tensor
    assert as_tensor([1, 2], "it").tolist() == [1, 2]


@pytest.mark.parametrize("value", [["a"], [None], [{}], np.array(["2026-01-01"], "M8[D]")])
def test_what_is_no_number_is_refused_by_its_name(value):
    with pytest.raises(ModelError, match=r"^the labels holds .*: expected numbers"):
        as_tensor(value, "the labels")


WRITERS = {
    ".npz": lambda path: np.savez(path, x=VALUES),
    ".npy": lambda path: np.save(path, VALUES),
    ".pt": lambda path: torch.save({"x": torch.tensor(VALUES)}, path),
    ".safetensors": lambda path: save_file({"x": torch.tensor(VALUES)}, path),
    ".csv": lambda path: pd.DataFrame(VALUES, columns=list("abc")).to_csv(path, index=False),
    ".parquet": lambda path: pd.DataFrame(VALUES, columns=list("abc")).to_parquet(path),
}


@pytest.mark.parametrize("suffix", READERS)
def test_a_file_gives_what_was_saved(suffix, tmp_path):
    path = tmp_path / f"values{suffix}"
    WRITERS[suffix](path)
    content = READERS[suffix](path)
    array = content["x"] if isinstance(content, dict) else content
    np.testing.assert_allclose(np.asarray(array), VALUES, rtol=1e-6)


def test_safetensors_are_read_without_their_library(tmp_path, monkeypatch):
    save_file({"x": torch.tensor(VALUES), "classes": torch.arange(6, dtype=torch.uint8)}, tmp_path / "a.safetensors")
    imported = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] == "safetensors":
            raise ModuleNotFoundError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    tensors = READERS[".safetensors"](tmp_path / "a.safetensors")
    assert torch.equal(tensors["x"], torch.tensor(VALUES))
    assert tensors["classes"].dtype == torch.uint8


def test_code_in_a_file_of_tensors_is_not_run(tmp_path):
    torch.save({"x": torch.nn.Linear(1, 1)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="would run code from it"):
        READERS[".pt"](tmp_path / "a.pt")


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    arsenal.bombs(folder)
    return folder


@pytest.mark.parametrize("bomb", ["bytearray_by_size.pt", "bytearray_by_tensor.pt", "set_of_tensor.pt"])
def test_no_small_file_of_tensors_takes_all_memory(bomb, bombs):
    with pytest.raises(ModelError):
        READERS[".pt"](bombs / bomb)


@pytest.mark.parametrize("shape", [(10**12, 0), (10**9, 4)], ids=["no numbers", "one number"])
def test_no_tensor_stands_for_rows_that_are_not_there(shape, tmp_path):
    torch.save(torch.zeros(1, 4)[:, : shape[1]].expand(shape), tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"are stored|no number"):
        read_data(str(tmp_path / "a.pt"), torch.nn.Linear(4, 1), Reading())
