"""Directories of torch.distributed.checkpoint, of one rank and of several."""

import io
import pickle
import shutil

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint import metadata as dcp_metadata
from torch.distributed.checkpoint.filesystem import _StorageInfo

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.load import load
from tests.saved import zoo


def read(path):
    return load(*find([path]))


def save_parts(path, parts, size, *, name="weight", file="__{}_0.distcp"):
    """Parts of one tensor as ranks write them: offsets and the rows, each in a file of its own."""
    path.mkdir(exist_ok=True)
    chunks, places = [], {}
    for rank, (offsets, part) in enumerate(parts):
        content = io.BytesIO()
        torch.save(part.clone(), content)
        (path / f"__{rank}_0.distcp").write_bytes(content.getvalue())
        chunks.append(dcp_metadata.ChunkStorageMetadata(torch.Size(offsets), part.shape))
        index = dcp_metadata.MetadataIndex(name, torch.Size(offsets), rank)
        places[index] = _StorageInfo(file.format(rank), 0, len(content.getvalue()))
    properties = dcp_metadata.TensorProperties(dtype=parts[0][1].dtype)
    tensor = dcp_metadata.TensorStorageMetadata(properties, torch.Size(size), chunks)
    (path / ".metadata").write_bytes(pickle.dumps(dcp_metadata.Metadata({name: tensor}, {name: (name,)}, places)))
    return path


WHOLE = torch.arange(40.0).view(8, 5)
PARTS = [((0, 0), WHOLE[:3]), ((3, 0), WHOLE[3:6, :2]), ((3, 2), WHOLE[3:6, 2:]), ((6, 0), WHOLE[6:])]


def test_the_parts_of_ranks_are_put_together_as_pytorch_does(tmp_path):
    path = save_parts(tmp_path / "dcp", PARTS, (8, 5))
    assert torch.equal(read(path).state["weight"], WHOLE)
    theirs = {"weight": torch.zeros(8, 5)}
    dcp.load(theirs, checkpoint_id=path, no_dist=True)
    assert torch.equal(theirs["weight"], WHOLE)


def test_what_another_python_calls_a_path_is_read(tmp_path):
    """Python 3.13 has another name for the class of the path in the metadata."""
    dcp.save({"model": {"weight": WHOLE}}, checkpoint_id=tmp_path / "dcp", no_dist=True)
    file = tmp_path / "dcp" / ".metadata"
    names = (b"\x8c\x07pathlib\x94", b"\x8c\x0epathlib._local\x94")
    for written, other in (names, names[::-1]):
        if written in file.read_bytes():
            file.write_bytes(file.read_bytes().replace(written, other))
            break
    assert other in file.read_bytes()
    assert torch.equal(read(tmp_path / "dcp").state["weight"], WHOLE)


def test_other_objects_beside_the_model_are_not_read(tmp_path):
    class Elsewhere:
        pass

    saved = {"model": zoo.trained()[0].state_dict(), "epoch": 4, "note": zoo.Armed(print, "never")}
    dcp.save(saved, checkpoint_id=tmp_path / "dcp", no_dist=True)
    (found,) = find([tmp_path / "dcp"])
    assert (found.label, found.epoch) == ("epoch 4", 4)
    assert load(found).key == "model"


def test_a_state_dict_alone_is_found(tmp_path):
    dcp.save(zoo.trained()[0].state_dict(), checkpoint_id=tmp_path / "dcp", no_dist=True)
    loaded = read(tmp_path / "dcp")
    assert loaded.key == ""
    assert torch.equal(loaded.state["fc1.weight"], zoo.trained()[0].fc1.weight)


@pytest.mark.parametrize(
    ("parts", "size", "told"),
    [
        (PARTS[:3], (8, 5), "holds 30 of the 40 numbers"),
        ([*PARTS, ((6, 0), WHOLE[6:])], (8, 5), "no place for a part"),
        (PARTS, (1 << 40, 5), "holds 40 of the"),
        (PARTS, (8, 4), "no place for a part"),
        ([((0, 0), WHOLE), ((1, 0), WHOLE)], (16, 4), "no place for a part"),
        ([((0, 0), WHOLE), ((4, 0), WHOLE[:6])], (14, 5), "overlap and leave others out"),
    ],
)
def test_parts_that_do_not_make_the_whole_are_refused(tmp_path, parts, size, told):
    with pytest.raises(ModelError, match=told):
        read(save_parts(tmp_path / "dcp", parts, size))


@pytest.mark.parametrize("file", ["../__{}_0.distcp", "/tmp/__{}_0.distcp", "sub/__{}_0.distcp", "nowhere{}"])
def test_parts_elsewhere_are_not_followed(tmp_path, file):
    for rank in range(4):
        (tmp_path / f"__{rank}_0.distcp").write_bytes(b"x" * 5000)
    with pytest.raises(ModelError, match=r"is not in its own directory|is missing"):
        read(save_parts(tmp_path / "dcp", PARTS, (8, 5), file=file))


@pytest.mark.parametrize(("offset", "length"), [(0, 1 << 50), (-5, 10), (1 << 40, 8), (0, 10), (3, 900), (True, 7)])
def test_places_that_are_none_are_refused(tmp_path, offset, length):
    path = save_parts(tmp_path / "dcp", [((0, 0), WHOLE)], (8, 5))
    metadata = pickle.loads((path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.offset, info.length = offset, length
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ModelError):
        read(path)


def test_a_part_of_another_shape_is_refused(tmp_path):
    path = save_parts(tmp_path / "dcp", [((0, 0), WHOLE)], (8, 5))
    for other in (WHOLE.t().contiguous(), WHOLE.int(), {"a": WHOLE}):
        content = io.BytesIO()
        torch.save(other, content)
        file = path / "__0_0.distcp"
        file.write_bytes(content.getvalue() + b"\0" * max(0, file.stat().st_size - len(content.getvalue())))
        with pytest.raises(ModelError):
            read(path)


def test_a_missing_file_is_named(saved, tmp_path):
    path = shutil.copytree(saved["distributed"], tmp_path / "dcp")
    (path / "__0_0.distcp").unlink()
    with pytest.raises(ModelError, match=r"__0_0\.distcp is missing"):
        find([path])


def test_transformed_parts_are_refused(tmp_path):
    path = save_parts(tmp_path / "dcp", [((0, 0), WHOLE)], (8, 5))
    metadata = pickle.loads((path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.transform_descriptors = ["zstd"]
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ModelError, match="saved through zstd"):
        read(path)
