"""What was saved is what comes back, bit by bit, from every format."""

import pickle
import random
import shutil
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import Wanted, build, load
from tests.saved import mutations, zoo

ORIGINAL = {name: tensor.clone() for name, tensor in zoo.trained()[0].state_dict().items()}


def read(path, **options):
    (found,) = find([path])
    return load(found, Wanted(**options))


def same(state, expected):
    return state.keys() == expected.keys() and all(
        torch.equal(state[name], expected[name]) and state[name].dtype == expected[name].dtype for name in expected
    )


@pytest.mark.parametrize("name", zoo.FORMATS)
def test_every_format_comes_back_bit_by_bit(saved, name):
    state = read(saved[name]).state
    if name == "lightning":
        state = {key.removeprefix("model."): tensor for key, tensor in state.items()}
    assert same(state, ORIGINAL)
    model = zoo.Digits()
    fitted = fit(model, read(saved[name]).state)
    assert same(model.state_dict(), ORIGINAL)
    assert (fitted.loaded, fitted.missing, fitted.unexpected, fitted.left) == (len(ORIGINAL), (), (), "")


@pytest.mark.parametrize(
    ("name", "key"), [("torch", ""), ("nested", "model"), ("lightning", "state_dict"), ("distributed", "model")]
)
def test_it_says_under_which_key_the_weights_were(saved, name, key):
    assert read(saved[name]).key == key


@pytest.mark.parametrize("name", ["nested", "legacy", "lightning", "distributed"])
def test_epoch_and_step_come_along(saved, name):
    loaded = read(saved[name])
    assert (loaded.epoch, loaded.step) == (3, 30)


@pytest.mark.parametrize("name", ["torch", "safetensors", "legacy", "exported"])
def test_the_suffix_does_not_matter(saved, tmp_path, name):
    for suffix in (".pt", ".safetensors", ".weights", ""):
        path = tmp_path / f"renamed{suffix}"
        path.write_bytes(saved[name].read_bytes())
        assert same(read(path).state, ORIGINAL)


def test_every_type_of_number_survives(tmp_path):
    kinds = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16]
    kinds += [torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn]
    state = {str(kind): torch.tensor([0.0, 1.0, 2.0]).to(kind) for kind in kinds}
    state |= {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "strided": torch.arange(12.0).view(3, 4).t()}
    torch.save(state, tmp_path / "a.pt")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "b.safetensors")
    for path in (tmp_path / "a.pt", tmp_path / "b.safetensors"):
        back = read(path).state
        assert {name: tensor.dtype for name, tensor in back.items()} == {n: t.dtype for n, t in state.items()}
        assert all(torch.equal(back[name].to(torch.complex64), state[name].to(torch.complex64)) for name in state)


def test_a_safetensors_header_of_any_length_is_read(tmp_path):
    """The writer pads headers to eight bytes; others need not, and then tensors are not aligned."""
    for extra in range(9):
        header = b'{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}' + b" " * extra
        path = tmp_path / f"{extra}.safetensors"
        path.write_bytes(len(header).to_bytes(8, "little") + header + np.array([1.5, 2.5]).tobytes())
        assert read(path).state["a"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("length", [0x0480, 0x0280, int.from_bytes(b"PK", "little")])
def test_a_safetensors_header_whose_length_looks_like_the_sign_of_another_format(length, tmp_path):
    header = b'{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}'.ljust(length)
    path = tmp_path / "net.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header + np.array([1.5, 2.5]).tobytes())
    assert path.read_bytes()[:2] in (b"\x80\x04", b"\x80\x02", b"PK")
    assert read(path).state["a"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("damage", [mutations.flip, mutations.edit_digits, mutations.splice, mutations.wipe])
def test_damaged_headers_are_accepted_where_the_library_accepts_them_too(saved, tmp_path, damage):
    """An oracle: the reader of the format's own authors."""
    original = saved["safetensors"].read_bytes()
    stop = 8 + int.from_bytes(original[:8], "little")
    path = tmp_path / "a.safetensors"
    accepted = 0
    for seed in range(60):
        header = bytearray(original[8:stop])
        damage(header, random.Random(seed))
        path.write_bytes(len(header).to_bytes(8, "little") + header + original[stop:])
        try:
            ours = read(path).state
        except ModelError:
            continue
        theirs = load_file(path)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], tensor) or tensor.isnan().any() for name, tensor in theirs.items())
        accepted += 1
    assert accepted < 60


def test_whole_objects_in_shards_need_the_flag_too(saved, tmp_path):
    path = shutil.copytree(saved["sharded_bin"], tmp_path / "bins")
    shard = sorted(path.glob("*.bin"))[0]
    held = torch.load(shard)
    torch.save(held | {"note": zoo.Digits()}, shard)
    with pytest.raises(ModelError, match=r"runs code.*zoo\.Digits"):
        read(path)
    assert same(read(path, unsafe=True).state, ORIGINAL)


def test_what_trainings_keep_beside_weights_is_no_code(tmp_path):
    """NumPy's numbers, paths and namespaces are plain values: nothing of them is needed."""
    from argparse import Namespace

    beside = {"best": np.float64(0.5), "history": np.arange(3), "args": Namespace(lr=0.1), "out": tmp_path, "n": {1, 2}}
    torch.save({**zoo.checkpoint(), **beside}, tmp_path / "a.pt")
    assert same(read(tmp_path / "a.pt").state, ORIGINAL)


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(zoo.checkpoint(), tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert same(read(tmp_path / "a.pt").state, ORIGINAL)


def test_a_whole_module_is_built_with_the_flag_alone(tmp_path):
    model = zoo.trained()[0]
    for name, options in (("new.pt", {}), ("old.pt", {"_use_new_zipfile_serialization": False})):
        torch.save(model, tmp_path / name, **options)
        with pytest.raises(ModelError, match=r"tests.saved.zoo.Digits.*--unsafe-pickle"):
            build(find([tmp_path / name])[0])
        loaded = read(tmp_path / name, unsafe=True)
        assert isinstance(loaded.module, zoo.Digits)
        assert same(loaded.state, ORIGINAL)
        assert isinstance(build(find([tmp_path / name])[0], Wanted(unsafe=True)), zoo.Digits)


def test_a_whole_module_of_the_old_format_is_read_with_the_flag_alone(tmp_path):
    torch.save(zoo.trained()[0], tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"runs code: it needs tests.saved.zoo.Digits.*--unsafe-pickle"):
        read(tmp_path / "old.pt")


def test_a_module_within_a_checkpoint_is_found(tmp_path):
    torch.save({"epoch": 1, "model": zoo.trained()[0], "ema": zoo.trained()[0]}, tmp_path / "yolo.pt")
    loaded = read(tmp_path / "yolo.pt", unsafe=True)
    assert loaded.key == "model"
    assert same(loaded.state, ORIGINAL)


def test_a_pickle_that_is_not_of_torch_save_needs_the_flag(tmp_path):
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps({"a": [1, 2]}))
    with pytest.raises(ModelError, match=r"none of torch\.save"):
        read(path)
    path.write_bytes(pickle.dumps(zoo.trained()[0].state_dict()))
    with pytest.raises(ModelError, match=r"torch.storage._load_from_bytes.*--unsafe-pickle"):
        read(path)
    assert same(read(path, unsafe=True).state, ORIGINAL)


def test_another_pickle_protocol_of_the_old_format_needs_the_flag(tmp_path):
    torch.save(ORIGINAL, tmp_path / "a.pt", pickle_protocol=4, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match=r"protocol 4.*--unsafe-pickle"):
        read(tmp_path / "a.pt")
    assert same(read(tmp_path / "a.pt", unsafe=True).state, ORIGINAL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_the_reason_and_the_remedy(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    for unsafe in (False, True):
        with pytest.raises(ModelError, match=r"TorchScript.*hooks.*never fire.*state_dict"):
            read(tmp_path / "script.pt", unsafe=unsafe)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"hello, world", "is no saved model"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "Keras"),
        (b"GGUF" + b"\0" * 100, "llama.cpp"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"<!DOCTYPE html><html>", "HTML"),
    ],
)
def test_what_is_no_saved_model_is_named(tmp_path, content, told):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=told) as raised:
        find([path])
    assert str(raised.value).startswith(f"{path}: ")


def test_a_numpy_archive_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(ModelError, match="NumPy archive"):
        find([tmp_path / "a.npz"])


def test_a_file_of_keras_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    with pytest.raises(ModelError, match=r"a\.keras: is a file of Keras; icshift reads models of PyTorch"):
        find([tmp_path / "a.keras"])


def test_a_model_of_weights_alone_cannot_be_built(saved):
    with pytest.raises(ModelError, match=r"weights alone.*--model"):
        build(find([saved["torch"]])[0])
