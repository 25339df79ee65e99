"""A model that is traced, exported or saved while it is recorded gives what it gives without the recorder."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.warm.starting import python
from tests.zoo.models import Specimen, specimens

TRACED = specimens("bn_mlp", "conv2d", "residual", "attention", "relu_twice", "shared_linear", "list_output")
traced = pytest.mark.parametrize("specimen", TRACED, ids=lambda specimen: specimen.name)


def built(specimen: Specimen) -> tuple[nn.Module, tuple[Any, ...]]:
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    return model.eval(), make_batch(np.random.default_rng(7))[0]


def while_recording(
    model: nn.Module, args: tuple[Any, ...], path: Path, trace: Callable[[], Any], **options: Any
) -> Any:
    """What `trace` gives between two forwards of a model that is recorded, of which both count, and nothing else."""
    with Recorder(model, path, sites="*", **options) as recorder:
        model(*args)
        recorder.epoch("before")
        found = trace()
        recorder.epoch("traced")
        model(*args)
        recorder.epoch("after")
    run = StoredRun(path)
    assert [window.name for window in run.window_list] == ["before", "after"]
    for site in run.sites:
        first, second = (run.distribution("eval", site.name, window.index) for window in run.window_list)
        assert first.count.tolist() == second.count.tolist()
    return found


@pytest.mark.some(3)
@pytest.mark.covering(1)
@traced
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_an_export_of_a_watched_model_is_that_of_the_model(specimen: Specimen, strict: bool, tmp_path: Path) -> None:
    model, args = built(specimen)

    def export() -> torch.export.ExportedProgram:
        return torch.export.export(model, args, strict=strict)

    expected = export()
    found = while_recording(model, args, tmp_path / "run", export, mask=lambda x: torch.zeros(len(x)) > 0)
    assert found.graph_module.code == expected.graph_module.code
    assert str(found.graph_signature) == str(expected.graph_signature)


@pytest.mark.some(3)
@traced
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_jit_trace_of_a_watched_model_is_that_of_the_model(specimen: Specimen, tmp_path: Path) -> None:
    model, args = built(specimen)

    def trace() -> list[str]:
        made = torch.jit.trace(model, args, strict=False, check_trace=False)
        return [made.code, *(node.kind() for node in made.inlined_graph.nodes())]

    expected = trace()
    assert while_recording(model, args, tmp_path / "run", trace, mask=lambda x: torch.zeros(len(x)) > 0) == expected


class Holding(nn.Module):
    """Holds the model that is watched, so that a tracer calls that like any other module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


masks = pytest.mark.parametrize(
    "mask",
    [
        None,
        lambda x: x[:, 0] > 0,
    ],
    ids=["unmasked", "masked"],
)


@masks
@pytest.mark.parametrize("specimen", specimens("bn_mlp", "relu_twice"), ids=lambda specimen: specimen.name)
def test_a_symbolic_trace_of_a_watched_model_is_that_of_the_model(
    specimen: Specimen, mask: Any, tmp_path: Path
) -> None:
    model, args = built(specimen)
    holding = Holding(model).eval()

    def trace() -> str:
        return str(torch.fx.symbolic_trace(holding).graph)

    expected = trace()
    assert while_recording(model, args, tmp_path / "run", trace, mask=mask) == expected


@pytest.mark.some(2)
@masks
@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_a_graph_of_what_a_watched_model_computes_is_that_of_the_model(mode: str, mask: Any, tmp_path: Path) -> None:
    model, args = built(specimens("bn_mlp")[0])

    def trace() -> str:
        return make_fx(model, tracing_mode=mode, _allow_non_fake_inputs=True)(*args).code

    expected = trace()
    with Recorder(model, tmp_path / "run", sites="*", mask=mask):
        model(*args)
        assert trace() == expected


def test_a_graph_of_complex_numbers_is_that_of_the_model(tmp_path: Path) -> None:
    model, args = built(specimens("complex_intermediate")[0])
    expected = make_fx(model)(*args).code
    with Recorder(model, tmp_path / "run", sites="*"):
        assert make_fx(model)(*args).code == expected
        model(*args)


WITHOUT_ICSHIFT = """
import sys
sys.modules["icshift"] = None  # Importing it fails.
import torch
folder = sys.argv[1]
expected = torch.load(f"{folder}/expected.pt")
inputs = torch.ones(5, 4)
assert torch.equal(torch.load(f"{folder}/model.pt", weights_only=False)(inputs), expected)
torch.testing.assert_close(torch.export.load(f"{folder}/strict.pt2").module()(inputs), expected)
torch.testing.assert_close(torch.export.load(f"{folder}/non-strict.pt2").module()(inputs), expected)
assert not hasattr(torch.ops.icshift, "see")
"""


def test_what_was_saved_and_exported_while_recording_runs_where_there_is_no_icshift(tmp_path: Path) -> None:
    model, inputs = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(5, 4)
    with Recorder(model, tmp_path / "run", sites="*"):
        torch.save(model(inputs).detach(), tmp_path / "expected.pt")
        torch.save(model, tmp_path / "model.pt")
        for strict, name in ((True, "strict"), (False, "non-strict")):
            torch.export.save(torch.export.export(model, (inputs,), strict=strict), tmp_path / f"{name}.pt2")
    command = [python(), "-c", WITHOUT_ICSHIFT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
