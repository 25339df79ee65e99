"""What `--model` and `--model-arg` name."""

import sys

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.inputs.specs import build_model, model_arguments, resolve

NETS = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Options:
    width: int = 4

class Net(nn.Module):
    def __init__(self, width=4, act="relu"):
        super().__init__()
        self.fc, self.act = nn.Linear(6, width), act

def make(width, *, norm=False):
    return nn.Sequential(nn.Linear(6, width), *[nn.BatchNorm1d(width)] * norm)

ready = Net(7)

class Zoo:
    small = staticmethod(lambda: Net(2))

def no_model():
    return 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "nets_of_tests.py").write_text(NETS)
    (tmp_path / "nets_of_tests.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("nets_of_tests", None)


@pytest.mark.parametrize(
    "where", ["nets_of_tests", "nets_of_tests.py", "parts/nets_of_tests.py", "parts.nets_of_tests"]
)
@pytest.mark.usefixtures("folder")
def test_models_are_named_by_module_or_file(where):
    assert build_model(f"{where}:Net", {}).fc.out_features == 4
    assert build_model(f"{where}:Net", {"width": 9}).fc.out_features == 9
    assert build_model(f"{where}:ready", {}).fc.out_features == 7
    assert build_model(f"{where}:Zoo.small", {}).fc.out_features == 2
    assert isinstance(build_model(f"{where}:make", {"width": 3, "norm": True})[1], nn.BatchNorm1d)


@pytest.mark.usefixtures("folder")
def test_weights_are_drawn_in_the_same_way():
    before = torch.get_rng_state()
    first, second = (build_model("nets_of_tests:Net", {}) for _ in range(2))
    assert torch.equal(first.fc.weight, second.fc.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_file_runs_once(folder):
    assert resolve("nets_of_tests.py:Net") is resolve(f"{folder}/nets_of_tests.py:Net")
    assert torch.nn.Module in resolve("nets_of_tests.py:Net").__mro__


def test_a_file_that_fails_is_not_kept(folder):
    (folder / "broken_of_tests.py").write_text("x = 1\n1 / 0")
    for _ in range(2):
        with pytest.raises(ModelError, match="ZeroDivisionError"):
            resolve("broken_of_tests.py:x")
    assert "broken_of_tests" not in sys.modules


def test_arguments_are_python_values_or_text():
    given = [
        "width=8",
        "norm=True",
        "act=relu",
        "sizes=[1, 2]",
        "rate=1e-3",
        "name='12'",
        "none=None",
        "url=a=b",
        "empty=",
    ]
    assert model_arguments(given) == {
        "width": 8,
        "norm": True,
        "act": "relu",
        "sizes": [1, 2],
        "rate": 1e-3,
        "name": "12",
        "none": None,
        "url": "a=b",
        "empty": "",
    }
    for bad in ("width", "=3", "a b=3"):
        with pytest.raises(ModelError, match="takes name=value"):
            model_arguments([bad])


@pytest.mark.parametrize(
    ("spec", "given", "expected"),
    [
        ("nets_of_tests", {}, "is no spec: expected package.module:name"),
        ("nets_of_tests:", {}, "is no spec"),
        ("nets_of_tests:Nett", {}, "did you mean Net"),
        ("no_such_module_here:Net", {}, "cannot be imported"),
        ("gone.py:Net", {}, "no such file: gone.py"),
        ("nets_of_tests:Net", {"wide": 3}, r"Net\(wide=3\) failed: TypeError.*--model-arg"),
        ("nets_of_tests:make", {}, "missing 1 required positional argument"),
        ("nets_of_tests:no_model", {}, "gave int: expected a torch.nn.Module"),
        ("nets_of_tests:ready", {"width": 3}, "takes no --model-arg"),
        ("math:pi", {}, "is float: expected a model"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_bad_specs(spec, given, expected):
    with pytest.raises(ModelError, match=expected):
        build_model(spec, given)
