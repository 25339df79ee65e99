"""Weights in several files, and an index that names what is not there."""

import json

import pytest
import torch

from icshift.errors import ModelError
from icshift.saved.formats import shards


@pytest.fixture
def index(tmp_path):
    """A function from the map of an index to its file; `a.bin` holds x and y, `b.bin` holds z."""
    torch.save({"x": torch.ones(1), "y": torch.ones(2)}, tmp_path / "a.bin")
    torch.save({"z": torch.ones(3)}, tmp_path / "b.bin")

    def index(weight_map):
        path = tmp_path / "model.bin.index.json"
        path.write_text(json.dumps({"weight_map": weight_map}))
        return path

    return index


def test_every_tensor_comes_from_the_file_that_the_index_says(index, tmp_path):
    tensors = shards.read(index({"z": "b.bin", "x": "a.bin"}), unsafe=False)
    assert {name: tensor.numel() for name, tensor in tensors.items()} == {"x": 1, "z": 3}
    assert set(shards.read(tmp_path / "a.bin", unsafe=False)) == {"x", "y"}


@pytest.mark.parametrize(
    ("weight_map", "expected"),
    [
        ({"z": "a.bin"}, "lacks in a.bin what its index says is there: z"),
        ({"x": "c.bin"}, "c.bin is missing"),
        ({"x": "../a.bin"}, "such a path is not followed"),
        ({}, "it has no weight_map"),
        (["a.bin"], "it has no weight_map"),
        ({"x": "model.bin.index.json"}, "is of the format sharded; expected safetensors or a file of torch.save"),
    ],
)
def test_an_index_that_lies_is_refused(index, weight_map, expected):
    with pytest.raises(ModelError, match=expected):
        shards.read(index(weight_map), unsafe=False)


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [("{", 10, "is not JSON"), ("[1]", 10, "is no JSON object"), ("{}" + " " * 20, 10, "has more than 10 bytes")],
)
def test_documents_that_are_none(text, longest, expected, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match=f"a.json {expected}"):
        shards.document(tmp_path / "a.json", longest)
    (tmp_path / "b.json").write_text('{"a": 1}')
    assert shards.document(tmp_path / "b.json", 8) == {"a": 1}
