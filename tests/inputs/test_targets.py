"""Targets are found in every format, stay beside their examples, and keep their type."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from icshift.errors import ModelError
from icshift.inputs.data import Reading
from icshift.inputs.targets import read_with_targets, separated

INPUTS = np.random.default_rng(0).normal(size=(30, 4)).round(3)
CLASSES = (INPUTS @ [100, 10, 1, 0]).round().astype(np.int64) % 7
"""Told by the inputs: so one sees that both were shuffled alike."""


def classes_of(inputs):
    return (inputs.double().numpy() @ [100, 10, 1, 0]).round().astype(np.int64) % 7


class Three(nn.Module):
    """Needs two inputs, may have a third."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x, scale, bias=None):
        return self.fc(scale * x) + (0 if bias is None else bias)


class Anything(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, *inputs):
        return self.fc(inputs[0])


ARRAYS = {"input": INPUTS, "target": CLASSES}


def npz(path, **arrays):
    np.savez(path / "data.npz", **arrays)
    return "data.npz"


def unnamed_npz(path):
    np.savez(path / "data.npz", INPUTS, CLASSES)
    return "data.npz"


def pt(path, content):
    torch.save(content, path / "data.pt")
    return "data.pt"


def safetensors(path):
    save_file({name: torch.tensor(value) for name, value in ARRAYS.items()}, path / "data.safetensors")
    return "data.safetensors"


def table(path, suffix, name="label", place=2):
    frame = pd.DataFrame(INPUTS, columns=list("abcd"))
    frame.insert(place, name, CLASSES)
    getattr(frame, {".csv": "to_csv", ".parquet": "to_parquet"}[suffix])(path / f"data{suffix}", index=False)
    return f"data{suffix}"


IMPORTS = "from torch.utils.data import DataLoader, TensorDataset\nfrom tests.inputs.test_targets import *"


def code(path, expression):
    (path / "given.py").write_text(f"{IMPORTS}\ndef make():\n    return {expression}\n")
    return "given.py:make"


TENSORS = "torch.tensor(INPUTS), torch.tensor(CLASSES)"

FORMATS = {
    "npz": lambda path: npz(path, **ARRAYS),
    **{
        f"npz {name}": lambda path, name=name: npz(path, x=INPUTS, **{name: CLASSES})
        for name in ("y", "Labels", "class")
    },
    "npz without names": unnamed_npz,
    "safetensors": safetensors,
    "pt dictionary": lambda path: pt(path, {"input": torch.tensor(INPUTS), "targets": torch.tensor(CLASSES)}),
    "pt tuple": lambda path: pt(path, (torch.tensor(INPUTS), torch.tensor(CLASSES))),
    "csv": lambda path: table(path, ".csv"),
    "csv, last column": lambda path: table(path, ".csv", "classes", 4),
    "parquet": lambda path: table(path, ".parquet", "Target", 0),
    "tuple of arrays": lambda path: code(path, "(INPUTS, CLASSES)"),
    "dataset": lambda path: code(path, f"TensorDataset({TENSORS})"),
    "loader": lambda path: code(path, f"DataLoader(TensorDataset({TENSORS}), 7)"),
    "loader of dictionaries": lambda path: code(path, "DataLoader(Named(), 7)"),
    "batches of arguments": lambda path: code(path, "[((torch.tensor(INPUTS),), {'labels': torch.tensor(CLASSES)})]"),
    "generator": lambda path: code(path, "Endless()"),
}


class Named(Dataset):
    def __len__(self):
        return len(INPUTS)

    def __getitem__(self, index):
        return {"input": INPUTS[index], "label": CLASSES[index], "id": index}


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield from zip(INPUTS, CLASSES, strict=True)


@pytest.mark.parametrize("name", FORMATS)
def test_targets_are_found(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = read_with_targets(FORMATS[name](tmp_path), nn.Linear(4, 3), Reading(batch_size=8, limit=30))
    assert data.examples == 30
    seen = []
    for batch in data.batches:
        (positional, keyword), target = separated(batch)
        (inputs,) = (*positional, *keyword.values())
        assert inputs.dtype == torch.float32
        assert target.dtype == torch.int64
        assert (target.numpy() == classes_of(inputs)).all()
        seen.append(inputs)
    assert sorted(torch.cat(seen)[:, 0].tolist()) == pytest.approx(sorted(INPUTS[:, 0]))


def test_numbers_come_in_the_models_precision(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = npz(tmp_path, input=INPUTS, wanted=INPUTS[:, :1], y=CLASSES)
    for dtype, model in ((torch.float32, nn.Linear(4, 1)), (torch.float64, nn.Linear(4, 1).double())):
        data = read_with_targets(spec, model, Reading(), "wanted")
        assert separated(data.batches[0])[1].dtype == dtype


def test_a_table_keeps_the_other_columns_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = read_with_targets(table(tmp_path, ".csv"), nn.Linear(4, 3), Reading(), None)
    ((inputs,), _), _ = separated(data.batches[0])
    assert sorted(map(tuple, inputs.tolist())) == sorted(map(tuple, INPUTS.astype(np.float32).tolist()))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_target_of_a_table_has_any_name(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = read_with_targets(table(tmp_path, suffix, "digit"), nn.Linear(4, 3), Reading(), "digit")
    ((inputs,), _), target = separated(data.batches[0])
    assert (target.numpy() == classes_of(inputs)).all()


def test_examples_with_a_value_that_is_not_finite_go_with_their_targets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    broken = INPUTS.copy()
    broken[:5, 2] = np.nan
    data = read_with_targets(npz(tmp_path, input=broken, target=CLASSES), nn.Linear(4, 3), Reading()).finite()
    ((), named), target = separated(data.batches[0])
    assert len(target) == 25
    assert (target.numpy() == classes_of(named["input"])).all()


def test_several_inputs_come_before_the_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scale = np.full((30, 1), 2.0)
    np.savez(tmp_path / "data.npz", INPUTS, scale, CLASSES)
    (positional, _), target = separated(read_with_targets("data.npz", Three(), Reading()).batches[0])
    assert [list(one.shape) for one in (*positional, target)] == [[30, 4], [30, 1], [30]]
    (positional, _), target = separated(read_with_targets(unnamed_npz(tmp_path), Anything(), Reading()).batches[0])
    assert len(positional) == 1
    assert (target.numpy() == classes_of(positional[0])).all()


MISTAKES = {
    "one array": (lambda path: npz(path, input=INPUTS), None, "holds no target, but input [30, 4]: name it target"),
    "an unknown name": (lambda path: npz(path, **ARRAYS), "targte", "no array 'targte'; did you mean target?"),
    "two": (lambda path: npz(path, x=INPUTS, y=CLASSES, label=CLASSES), None, "y and label: say which is the target"),
    "an unknown place": (unnamed_npz, "digit", "no array 'digit'; known: arr_0, arr_1"),
    "no names": (
        lambda path: pt(path, (torch.tensor(INPUTS), torch.tensor(CLASSES))),
        "digit",
        "2 arrays without a name: --target digit is for arrays with names",
    ),
    "only inputs": (
        lambda path: pt(path, torch.tensor(INPUTS)),
        None,
        "one array ([30, 4]), forward of Linear takes 1",
    ),
    "a table without": (lambda path: table(path, ".csv", "digit"), None, "but the columns a, b, digit, c, d: name it"),
    "a column's name": (lambda path: table(path, ".csv"), "labl", "no column 'labl'; did you mean label?"),
    "lengths": (lambda path: npz(path, input=INPUTS, target=CLASSES[:9]), None, "of the lengths [9, 30]"),
    "words": (lambda path: npz(path, input=INPUTS, y=CLASSES.astype(str)), None, "expected numbers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, target, said = MISTAKES[name]
    with pytest.raises(ModelError, match=f"(?s).*{re.escape(said)}"):
        read_with_targets(make(tmp_path), nn.Linear(4, 3), Reading(), target)
