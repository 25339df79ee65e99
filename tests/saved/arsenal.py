"""Files that mean harm: pickles that run code, in every place where a pickle can be, and archives that are bombs."""

import builtins
import importlib
import io
import json
import os
import pickle
import runpy
import shutil
import subprocess
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp

from tests.saved import zoo
from tests.saved.zoo import Armed

LEGACY = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]


def weapons(marker):
    """What creates a file when it is unpickled, by name."""
    touch = f"open({str(marker)!r}, 'w').close()"
    script = marker.parent.parent / "script.py"
    script.write_text(touch)
    within = io.BytesIO()
    torch.save({"a": Armed(os.system, f"touch {marker}")}, within)
    made = torch.fx.symbolic_trace(torch.nn.ReLU())
    rebuild, (body, importer) = made.__reduce__()
    body = {**body, "_code": f"\n{touch}\n{body['_code']}"}
    return {
        "os.system": Armed(os.system, f"touch {marker}"),
        "exec": Armed(builtins.exec, touch),
        "eval": Armed(builtins.eval, touch),
        "Popen": Armed(subprocess.Popen, ["touch", str(marker)]),
        "runpy": Armed(runpy.run_path, str(script)),
        "copy": Armed(shutil.copy, str(script), str(marker)),
        "open": Armed(builtins.open, str(marker), "w"),
        "nested torch.load": Armed(torch.storage._load_from_bytes, within.getvalue()),
        "torch.fx": Armed(rebuild, body, importer),
        "through a tensor": Armed(
            torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (f"touch {marker}",), {}
        ),
        "through a map": Armed(list, Armed(map, os.system, [f"touch {marker}"])),
        "through getattr": Armed(Armed(getattr, Armed(importlib.import_module, "os"), "system"), f"touch {marker}"),
    }


def as_torch(path, saved):
    torch.save(saved, path)
    return path


def as_legacy(path, saved):
    path.write_bytes(b"".join(LEGACY) + pickle.dumps(saved, 2) + pickle.dumps([], 2))
    return path


def as_legacy_header(path, saved):
    path.write_bytes(LEGACY[0] + LEGACY[1] + pickle.dumps(saved, 2) + pickle.dumps({}, 2) + pickle.dumps([], 2))
    return path


def as_legacy_keys(path, saved):
    path.write_bytes(b"".join(LEGACY) + pickle.dumps({}, 2) + pickle.dumps(saved, 2))
    return path


def as_pickle(protocol):
    def write(path, saved):
        path.write_bytes(pickle.dumps(saved, protocol))
        return path

    return write


def as_weights_of_huggingface(path, saved):
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"model_type": "vit", "architectures": ["ViTModel"]}))
    torch.save(saved, path / "pytorch_model.bin")
    return path


def as_shard(path, saved):
    path.mkdir()
    torch.save(saved, path / "part.bin")
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "part.bin"}}))
    return path


def as_metadata(path, saved):
    zoo.save_distributed(path)
    metadata = pickle.loads((path / ".metadata").read_bytes())
    metadata.planner_data = {**metadata.planner_data, "more": saved}
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    return path


def as_tensor_of_distributed(path, saved):
    dcp.save({"weight": torch.zeros(100)}, checkpoint_id=path, no_dist=True)
    content = io.BytesIO()
    torch.save(saved, content)
    metadata = pickle.loads((path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.offset, info.length = 0, len(content.getvalue())
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    (path / "__0_0.distcp").write_bytes(content.getvalue())
    return path


def as_record_of_export(record):
    def write(path, saved):
        content = io.BytesIO()
        torch.save(saved, content)
        source = path.with_suffix(".source")
        zoo.save_package(source)
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            root = f"{old.namelist()[0].partition('/')[0]}/"
            for info in old.infolist():
                if info.filename != root + record:
                    new.writestr(info, old.read(info))
            new.writestr(root + record, content.getvalue())
        source.unlink()
        return path

    return write


def as_old_export(path, saved):
    content = io.BytesIO()
    torch.save(saved, content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", content.getvalue())
    return path


def as_tar(path, saved):
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(saved)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


PLACES = {
    "torch.pt": as_torch,
    "torch.safetensors": as_torch,
    "legacy.pt": as_legacy,
    "legacy_header.pt": as_legacy_header,
    "legacy_keys.pt": as_legacy_keys,
    **{f"pickle{protocol}.pt": as_pickle(protocol) for protocol in range(6)},
    "huggingface": as_weights_of_huggingface,
    "shards": as_shard,
    "metadata": as_metadata,
    "distributed": as_tensor_of_distributed,
    "inputs.pt2": as_record_of_export("data/sample_inputs/model.pt"),
    "constants.pt2": as_record_of_export("data/constants/tensor_0"),
    "weights.pt2": as_record_of_export("data/weights/model.pt"),
    "old.pt2": as_old_export,
    "tar.pt": as_tar,
}
"""Where a pickle can be, by the name of the file or directory."""


def wrappings(weapon):
    """Where in what is saved the weapon can be."""
    state = {"a.weight": torch.ones(2)}
    return {
        "alone": weapon,
        "as a weight": {**state, "b": weapon},
        "as a key": {**state, weapon: 1},
        "in the optimizer": {"model": state, "optimizer": {"state": {0: {"exp_avg": weapon}}, "param_groups": []}},
        "in a callback": {"state_dict": state, "callbacks": {"checkpoint": {"best": weapon}}},
        "as an option": {"state_dict": state, "hyper_parameters": {"loss": weapon}},
        "as the epoch": {"model": state, "epoch": weapon},
        "as an attribute": with_attribute(state, weapon),
        "deep down": {"model": {"state_dict": state}, "x": [[[{"y": (weapon,)}]]]},
    }


def with_attribute(state, weapon):
    """State dicts carry `_metadata` as an attribute."""
    found = OrderedDict(state)
    found._metadata = OrderedDict(a=weapon)
    return found


def zipped(path, records, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return path


def torch_zip(path, instructions):
    """An archive of torch.save with a pickle of given instructions."""
    return zipped(path, {"a/data.pkl": b"\x80\x02" + instructions + b".", "a/version": "3\n", "a/data/0": bytes(8)})


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x02tQ"
"""A storage of two numbers."""


def tensor(offset, size, stride, storage=STORAGE):
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + offset
        + size
        + stride
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def number(value):
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def named(value, name=b"a"):
    return b"}X" + len(name).to_bytes(4, "little") + name + value + b"s"


def bombs(directory):
    """Files that would eat memory, time or trust; each returns its path."""
    directory = Path(directory)
    zeros = bytes(64 << 20)
    make = {
        "compressed.pt": lambda path: zipped(path, {"a/data.pkl": zeros}, zipfile.ZIP_DEFLATED),
        "compressed_data.pt": lambda path: zipped(
            path, {"a/data.pkl": b"\x80\x02}.", "a/data/0": zeros}, zipfile.ZIP_DEFLATED
        ),
        "lzma.pt": lambda path: zipped(path, {"a/data.pkl": zeros}, zipfile.ZIP_LZMA),
        "nested.pt": lambda path: zipped(path, {"a/inner.zip": zipped(path, {"b": zeros[:1000]}).read_bytes()}),
        "empty.pt": lambda path: zipped(path, {}),
        "twice.pt": twice,
        "overlapping.pt": overlapping,
        "unfolding_key.pt": lambda path: torch_zip(path, b"}K\x01" + b"q\x00h\x00\x86" * 60 + b"K\x01s"),
        "deep_key.pt": lambda path: torch_zip(path, b"}K\x01" + b"\x85" * 300_000 + b"K\x01s"),
        "deep_list.pt": lambda path: torch_zip(path, b"]" * 300_000 + b"a" * 299_999),
        "sets_of_sets.pt": lambda path: torch_zip(
            path, b"](" + b"K\x01" * 99_999 + b"eq\x00(" + b"c__builtin__\nset\nh\x00\x85R" * 20_000 + b"l"
        ),
        "bytearray.pt": lambda path: torch_zip(path, named(b"cbuiltins\nbytearray\n" + number(1 << 35) + b"\x85R")),
        "bytearrays.pt": lambda path: torch_zip(
            path, named(b"](" + (b"c__builtin__\nbytearray\n" + number(1 << 30) + b"\x85R") * 50 + b"e")
        ),
        "bytearray_by_size.pt": lambda path: torch_zip(
            path, named(b"cbuiltins\nbytearray\nctorch\nSize\n(" + number(1 << 35) + b"t\x85RR")
        ),
        "bytearray_by_tensor.pt": lambda path: torch_zip(
            path, named(b"cbuiltins\nbytearray\n" + tensor(b"K\x00", b")", b")") + b"\x85R")
        ),
        "set_of_tensor.pt": lambda path: torch_zip(
            path, named(b"cbuiltins\nset\n" + tensor(b"K\x00", number(1 << 40) + b"\x85", b"K\x00\x85") + b"\x85R")
        ),
        "codec.pt": lambda path: torch_zip(
            path,
            named(
                b"c_codecs\nencode\nX" + (90_000).to_bytes(4, "little") + b"x" * 90_000 + b"X\x08\0\0\0punycode\x86R"
            ),
        ),
        "storage_call.pt": lambda path: torch_zip(path, named(b"ctorch\nFloatStorage\n" + number(1 << 40) + b"\x85R")),
        "tensor_call.pt": lambda path: torch_zip(path, named(b"ctorch\nTensor\n" + number(1 << 40) + b"\x85R")),
        "hidden_call.pt": lambda path: torch_zip(
            path,
            named(
                b"ctorch._tensor\n_rebuild_from_type_v2\n(c__builtin__\nbytearray\nctorch\nTensor\n"
                + number(1 << 35)
                + b"\x85}tR"
            ),
        ),
        "stretched.pt": lambda path: torch_zip(path, named(tensor(b"K\x00", number(1 << 50) + b"\x85", b"K\x00\x85"))),
        "stretched_to_8_gb.pt": lambda path: torch_zip(
            path, named(tensor(b"K\x00", number(1 << 31) + b"\x85", b"K\x00\x85"))
        ),
        "outside.pt": lambda path: torch_zip(path, named(tensor(number(1 << 40), b"K\x02\x85", b"K\x01\x85"))),
        "negative.pt": lambda path: torch_zip(path, named(tensor(number(-99), b"K\x02\x85", b"K\x01\x85"))),
        "negative_size.pt": lambda path: torch_zip(path, named(tensor(b"K\x00", number(-5) + b"\x85", b"K\x01\x85"))),
        "huge_storage.pt": lambda path: torch_zip(
            path,
            named(tensor(b"K\x00", b"K\x02\x85", b"K\x01\x85", STORAGE.replace(b"K\x02tQ", number(1 << 45) + b"tQ"))),
        ),
        "storage_elsewhere.pt": lambda path: torch_zip(
            path,
            named(
                tensor(b"K\x00", b"K\x02\x85", b"K\x01\x85", STORAGE.replace(b"\x01\0\0\x000X", b"\x06\0\0\0../../X"))
            ),
        ),
        "module_source.pt": lambda path: torch_zip(
            path, named(b"(X\x06\0\0\0modulectorch\nTensor\nX\1\0\0\0aX\1\0\0\0btQ")
        ),
        "built_tensor.pt": lambda path: torch_zip(
            path, named(tensor(b"K\x00", b"K\x02\x85", b"K\x01\x85") + b"(" + STORAGE + number(1 << 40) + b"tb")
        ),
        "escape.pt": lambda path: torch_zip(path, named(b"K\x01", b"\x1b[2J\x1b]0;owned\x07\r\n\n" * 99)),
        "legacy_storage.pt": legacy_storage,
        "legacy_outside.pt": legacy_outside,
        "header.safetensors": lambda path: safetensors(path, b"{}", length=1 << 62),
        "header_100mb.safetensors": lambda path: safetensors(path, b"{}", length=99_999_999),
        "nested.safetensors": lambda path: safetensors(path, b"[" * 100_000),
        "nested_object.safetensors": lambda path: safetensors(path, b'{"a":' * 50_000),
        "huge.safetensors": lambda path: safetensors(path, entry([1 << 50], [0, 1 << 52])),
        "product.safetensors": lambda path: safetensors(path, entry([1 << 62, 1 << 62, 1 << 62], [0, 8])),
        "digits.safetensors": lambda path: safetensors(path, b'{"a":{"shape":[' + b"9" * 50_000 + b"]}}"),
        "overlap.safetensors": lambda path: safetensors(
            path,
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        ),
        "again.safetensors": lambda path: safetensors(path, entry([2], [0, 8])[:-1] + b"," + entry([2], [0, 8])[1:]),
        "hole.safetensors": lambda path: safetensors(path, entry([1], [4, 8])),
        "backwards.safetensors": lambda path: safetensors(path, entry([2], [8, 0])),
        "fraction.safetensors": lambda path: safetensors(path, entry([2.5], [0, 10])),
        "true.safetensors": lambda path: safetensors(path, entry([True, 2], [0, 8])),
    }
    for name, write in make.items():
        write(directory / name)
    return [directory / name for name in make]


def twice(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data.pkl", b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.")
    return path


def overlapping(path):
    """Many entries of the directory that all lead to the same bytes."""
    content = bytes(1 << 20)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}.")
        archive.writestr("a/data/0", content)
        first = archive.getinfo("a/data/0")
        for number_of in range(1, 2000):
            info = zipfile.ZipInfo(f"a/data/{number_of}")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    return path


def legacy_storage(path):
    """The old format, with a storage of terabytes."""
    stored = STORAGE.replace(b"K\x02tQ", number(1 << 45) + b"NtQ")
    content = b"\x80\x02" + named(tensor(b"K\x00", b"K\x02\x85", b"K\x01\x85", stored)) + b"."
    path.write_bytes(b"".join(LEGACY) + content + pickle.dumps(["0"], 2) + (1 << 45).to_bytes(8, "little") + bytes(8))
    return path


def legacy_outside(path):
    """The old format, with a tensor that is larger than its storage."""
    stored = STORAGE.replace(b"tQ", b"NtQ")
    content = b"\x80\x02" + named(tensor(b"K\x00", number(1 << 30) + b"\x85", b"K\x01\x85", stored)) + b"."
    path.write_bytes(b"".join(LEGACY) + content + pickle.dumps(["0"], 2) + (2).to_bytes(8, "little") + bytes(8))
    return path


def safetensors(path, header, length=None):
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header + bytes(8))
    return path


def entry(shape, offsets):
    return json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
