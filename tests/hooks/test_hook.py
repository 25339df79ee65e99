"""A watched model can be copied, pickled and saved, and the copies know nothing of the recorder."""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from icshift.hooks.hook import Hook
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.zoo.models import CALLED_OTHERWISE, ZOO, Specimen

NOT_PICKLED = {"weight_norm", "spectral_norm", "lora_as_parametrization", "quantisation_aware"}
"""PyTorch itself refuses to pickle parametrised modules, and those made ready for quantisation."""


each = pytest.mark.parametrize("specimen", [*ZOO, *CALLED_OTHERWISE], ids=lambda specimen: specimen.name)


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def pickled(model: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(model))


def shallow(model: nn.Module) -> nn.Module:
    return copy.copy(model)


def attributes(model: nn.Module) -> dict[str, list[str]]:
    return {name: list(vars(module)) for name, module in model.named_modules()}


@pytest.mark.some(12)
@pytest.mark.covering(1)
@each
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved])
def test_a_copy_of_a_watched_model_computes_the_same_and_records_nothing(
    specimen: Specimen, copied: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    if copied is not copy.deepcopy and specimen.name in NOT_PICKLED:
        pytest.skip("PyTorch does not pickle it")
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    args, kwargs = make_batch(np.random.default_rng(7))
    model.eval()
    specimen.call(model, *args, **kwargs)
    unwatched = copied(model)
    with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
        specimen.call(model, *args, **kwargs)
        twin = copied(model)
        assert attributes(twin) == attributes(unwatched)
        theirs = specimen.loss(specimen.call(twin, *args, **kwargs))
        # Made within and used without: a copy of the copy as well.
        specimen.call(copied(twin), *args, **kwargs)
        recorder.epoch("copied")
        ours = specimen.loss(specimen.call(model, *args, **kwargs))
    specimen.call(copied(twin), *args, **kwargs)
    assert torch.equal(theirs, ours)
    run = StoredRun(tmp_path / "run")
    assert [window.name for window in run.window_list] == ["copied", "2"]
    for site in run.sites:
        first, second = (run.distribution("eval", site.name, window) for window in (1, 2))
        assert first is not None
        assert second is not None
        assert first.count.tolist() == second.count.tolist(), f"a copy was recorded as {site.name}"


def test_a_shallow_copy_shares_the_hooks_and_still_records_nothing(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run"):
        model(torch.ones(5, 4))
        shallow(model)(torch.ones(50, 4))
    assert StoredRun(tmp_path / "run").distribution("train", "(model)", 1).count.tolist() == [5] * 3


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled, saved, shallow])
def test_a_saved_model_loads_where_there_is_no_icshift(
    copied: Callable[[nn.Module], nn.Module], tmp_path: Path
) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with Recorder(model, tmp_path / "run"):
        model(torch.ones(5, 4))
        for one in (model, copied(model)):
            assert b"icshift" not in pickle.dumps(one)


@pytest.mark.some(12)
@each
def test_the_state_dict_of_a_watched_model_is_the_models(specimen: Specimen, tmp_path: Path) -> None:
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    args, kwargs = make_batch(np.random.default_rng(7))
    model.eval()
    specimen.call(model, *args, **kwargs)
    before = copy.deepcopy(model.state_dict())
    with Recorder(model, tmp_path / "run", sites="*") as recorder:
        during = model.state_dict()
        assert list(during) == list(before)
        assert all(torch.equal(during[name], before[name]) for name in before)
        model.load_state_dict(during)
        specimen.call(model, *args, **kwargs)
        recorder.step()


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_of_a_watched_optimizer_ends_no_step(
    copied: Callable[..., torch.optim.Optimizer], tmp_path: Path
) -> None:
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        model(torch.ones(5, 4)).sum().backward()
        copied(optimizer).step()
        model(torch.ones(5, 4))
        optimizer.step()
    run = StoredRun(tmp_path / "run")
    assert run.manifest["steps"] == 1
    assert run.steps("train")["count"].tolist() == [10] * 3


@pytest.mark.parametrize("compiled", [False, True])
def test_what_a_hook_raises_is_said_once_and_never_reaches_the_training(compiled: bool) -> None:
    def fails(*_: object) -> None:
        calls.append(1)
        raise AttributeError("torch has no such name")

    calls: list[int] = []
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(2, 4)
    expected = model(x)
    for register in (model.register_forward_pre_hook, model[0].register_forward_hook):
        register(Hook(model if register == model.register_forward_pre_hook else model[0], fails))
    call = torch.compile(model, backend="eager") if compiled else model
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            assert torch.equal(call(x), expected)
    ours = [str(warning.message) for warning in said if "icshift" in str(warning.message)]
    assert len(ours) == len(calls) <= 2
    assert compiled or len(ours) == 2
    assert all("failed, and does nothing from now on: AttributeError('torch has no such name')" in one for one in ours)


def test_a_mask_does_not_raise_while_a_model_is_traced(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(4, 3)), torch.ones(2, 4)
    with Recorder(model, tmp_path / "run", mask=lambda x: x[:, 0] > 1) as recorder:
        torch.fx.symbolic_trace(model)
        torch.jit.trace(model, x)
        torch.export.export(model, (x,), strict=False)  # Strictly torch 2.7 exports no model that has any hooks.
        model(x).sum().backward()
        recorder.step()
    assert StoredRun(tmp_path / "run").distribution("train", "0", 1).count.tolist() == [2] * 3
