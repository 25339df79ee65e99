"""Archives of torch.export: weights without running anything, the program with the flag."""

import json
import zipfile

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import Wanted, build, load
from tests.saved import zoo


def test_the_program_is_refused_without_the_flag(saved):
    with pytest.raises(
        ModelError, match=r"by running code in it: give the model's class with --model.*--unsafe-pickle"
    ):
        build(*find([saved["exported"]]))


def test_the_parts_of_the_program_are_called(saved):
    module = build(*find([saved["exported"]]), Wanted(unsafe=True))
    called = []
    for name, part in module.named_modules():
        part.register_forward_hook(lambda *_, name=name: called.append(name))
    images = zoo.digits()[0][:2]
    assert torch.allclose(module(images), zoo.trained()[0].eval()(images))
    zoo.trained()[0].train()
    assert {"conv", "norm", "fc1", "fc2"} <= set(called)
    assert fit(module, load(*find([saved["exported"]])).state).left == ""


def test_shared_and_strided_weights_come_back(tmp_path):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.two = nn.Linear(3, 3)
            self.two.weight = self.one.weight
            self.register_buffer("turned", torch.arange(6.0).view(2, 3).t())
            self.register_buffer("none", torch.zeros(0, 3))

        def forward(self, inputs):
            return self.two(self.one(inputs)) @ self.turned + self.none.sum()

    model = Shared()
    torch.export.save(torch.export.export(model, (torch.ones(1, 3),)), tmp_path / "a.pt2")
    state = load(*find([tmp_path / "a.pt2"])).state
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_the_layout_of_older_versions_is_read(tmp_path):
    torch.save(zoo.trained()[0].state_dict(), tmp_path / "state.pt")
    with zipfile.ZipFile(tmp_path / "old.pt2", "w") as archive:
        archive.writestr("version", "8.2")
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("serialized_state_dict.pt", (tmp_path / "state.pt").read_bytes())
        archive.writestr("serialized_constants.pt", b"")
        archive.writestr("serialized_example_inputs.pt", b"")
    state = load(*find([tmp_path / "old.pt2"])).state
    assert torch.equal(state["fc1.weight"], zoo.trained()[0].fc1.weight)


@pytest.fixture
def package(tmp_path):
    return zoo.save_package(tmp_path / "program.pt2")


def test_a_table_with_its_bytes_is_read(package):
    state, expected = load(*find([package])).state, zoo.trained()[0].state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in expected.items())


def table(path):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("program/data/weights/model_weights_config.json"))


CHANGES = {
    "a type that is none": lambda said: said["tensor_meta"].update(dtype=99),
    "a shape of terabytes": lambda said: said["tensor_meta"].update(sizes=[{"as_int": 1 << 40}, {"as_int": 9}]),
    "a negative shape": lambda said: said["tensor_meta"].update(sizes=[{"as_int": -4}], strides=[{"as_int": 1}]),
    "a place outside": lambda said: said["tensor_meta"].update(storage_offset={"as_int": 1 << 40}),
    "a stride that leads out": lambda said: said["tensor_meta"].update(strides=[{"as_int": 1 << 30}] * 2),
    "an expression": lambda said: said["tensor_meta"].update(sizes=[{"as_expr": {"expr_str": "exit()"}}] * 2),
    "a record elsewhere": lambda said: said.update(path_name="../../archive_format"),
    "a pickle that is none": lambda said: said.update(use_pickle=True),
    "nothing": lambda said: said.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_tables_that_lie_are_refused(package, tmp_path, change):
    said = table(package)
    change(said["config"]["fc1.weight"])
    path = tmp_path / "a.pt2"
    zoo.rezipped(package, path, weights__model_weights_config_DOT_json=json.dumps(said))
    with pytest.raises(ModelError):
        load(*find([path]))


def test_a_compiled_package_is_refused(package):
    with zipfile.ZipFile(package, "a") as archive:
        archive.writestr("program/data/aotinductor/model/model.so", b"\x7fELF")
    with pytest.raises(ModelError, match="compiled package"):
        load(*find([package]))
