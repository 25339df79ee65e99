"""Files of safetensors: what the library writes, and headers that lie."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from icshift.errors import ModelError
from icshift.saved.formats import safetensors

TENSORS = {
    "half": torch.randn(3, 5).half(),
    "bytes": torch.arange(7, dtype=torch.uint8),  # Whatever follows is not aligned.
    "double": torch.randn(2, 2, 2).double(),
    "brain": torch.randn(4).bfloat16(),
    "flag": torch.tensor([True, False]),
    "number": torch.tensor(3.0),
    "empty": torch.zeros(0, 4),
    "complex": torch.randn(3, dtype=torch.complex64),
}


def write(path, header, content=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + content)
    return path


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_what_the_library_writes_is_what_the_library_reads(tmp_path):
    save_file(TENSORS, tmp_path / "a", metadata={"epoch": "3"})
    ours, theirs = safetensors.read(tmp_path / "a"), load_file(tmp_path / "a")
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(ours[name], tensor)
    assert safetensors.metadata(tmp_path / "a") == {"epoch": "3"}


def test_writing_to_a_tensor_does_not_change_the_file(tmp_path):
    save_file(TENSORS, tmp_path / "a")
    before = (tmp_path / "a").read_bytes()
    for tensor in safetensors.read(tmp_path / "a").values():
        tensor.zero_()
    assert (tmp_path / "a").read_bytes() == before


def test_a_file_without_metadata_says_nothing_beside(tmp_path):
    assert safetensors.metadata(write(tmp_path / "a", {"__metadata__": [1]})) == {}
    assert safetensors.metadata(write(tmp_path / "b", {})) == {}


LIES = {
    "too long a header": ({}, b"", 1 << 40, "declares a header of"),
    "a list": ([], b"", None, "has a header that lists no tensors"),
    "two of one name": (b'{"a": {}, "a": {}}', b"", None, "names a tensor twice"),
    "a gap": ({"a": entry([1], 4, 8)}, bytes(8), None, "leaves bytes between its tensors"),
    "an overlap": ({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, bytes(8), None, "lets two overlap, at 'b'"),
    "too few bytes": ({"a": entry([2], 0, 8)}, bytes(7), None, "damaged or cut short; fetch it anew"),
    "bytes after the last": ({"a": entry([2], 0, 8)}, bytes(9), None, "damaged or cut short; fetch it anew"),
    "another shape": ({"a": entry([3], 0, 8)}, bytes(8), None, "declares 8 bytes for 'a', whose shape takes 12"),
    "a negative shape": ({"a": entry([-1, -2], 0, 8)}, bytes(8), None, "a shape or place that is none"),
    "a number that is true": ({"a": entry([True, 2], 0, 8)}, bytes(8), None, "a shape or place that is none"),
    "too many axes": ({"a": entry([1] * 65, 0, 4)}, bytes(4), None, "a shape or place that is none"),
    "an unknown type": ({"a": entry([2], 0, 8, "F33")}, bytes(8), None, "'F33', which is not one of BOOL, U8"),
}


@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie_are_refused_with_what_is_wrong(lie, tmp_path):
    header, content, length, expected = LIES[lie]
    with pytest.raises(ModelError, match=expected):
        safetensors.read(write(tmp_path / "a", header, content, length))
