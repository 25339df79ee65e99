"""A torch without one of its private names: a training goes on as without a recorder, and what can be is recorded."""

import importlib
import re
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
import torch._dynamo.config
import torch._dynamo.convert_frame
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from icshift.hooks.hook import Hook
from icshift.model import torch_private
from icshift.model.torch_private import (
    _NOT_IN_TRANSFORMS,
    _NOT_WHERE_SEEN,
    _PUBLIC_LAYERS,
    NAMES,
    given_to_functions,
    loader_iterator,
)
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun

STEPS, ROWS = 3, 8


@contextmanager
def without(path):
    """A torch that has no such name, as icshift finds it; torch itself still has it, which may need it."""
    *way, name = path.split(".")
    owner = torch
    for part in way[1:]:
        owner = getattr(owner, part, SimpleNamespace())
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(owner, name, raising=False)
        importlib.reload(torch_private)
    try:
        yield
    finally:
        importlib.reload(torch_private)


class Doing(TorchFunctionMode):
    """A mode that notes nothing and changes nothing."""

    def __torch_function__(self, function, _, args=(), kwargs=None):
        return function(*args, **kwargs or {})


def plainly(model, x):
    return model(x)


def under_a_mode(model, x):
    with Doing():
        return model(x)


def mapped(model, x):
    return torch.vmap(model)(x.view(2, 4, 6)).view(ROWS, 3)


def checkpointed(model, x):
    return model[2](checkpoint(model[:2], x, use_reentrant=False))


WAYS = (plainly, under_a_mode, mapped, checkpointed)


def trained(way):
    """Losses, parameters and random states of a training whose forwards go this way; and its model."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    yield model
    losses = []
    for x in torch.randn(STEPS, ROWS, 6):
        loss = way(model, x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    yield [*losses, *(parameter.detach() for parameter in model.parameters()), torch.get_rng_state()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module", params=WAYS, ids=lambda way: way.__name__)
def unrecorded(request):
    """A way of forwards, and what comes out of the training with nobody watching."""
    training = trained(request.param)
    next(training)
    return request.param, next(training)


@pytest.mark.some(20)
@pytest.mark.parametrize("path", [path for path in NAMES if NAMES[path] is not _PUBLIC_LAYERS])
def test_a_training_goes_on_without(path, unrecorded, tmp_path, capfd):
    way, expected = unrecorded
    lost = way in {_NOT_WHERE_SEEN: (under_a_mode, mapped), _NOT_IN_TRANSFORMS: (mapped,)}.get(NAMES[path], ())
    # Where nothing was recorded this is said when the training is over, and why.
    no_way = f"nothing was recorded .*torch {re.escape(torch.__version__)} has no known way"
    over = pytest.warns(RuntimeWarning, match=no_way) if lost else nullcontext()
    training = trained(way)
    with without(path), over, Recorder(next(training), tmp_path / "run") as recorder:
        found = next(training)
        recorder.epoch()
    assert same(found, expected)
    assert capfd.readouterr().err == ""
    if not lost:
        run = StoredRun(tmp_path / "run")
        rows = {site.name: set(run.distribution("train", site.name, 1).count) for site in run.sites}
        twice = path == "torch._C._current_graph_task_id" and way is checkpointed
        assert rows == {"0": {STEPS * ROWS * (1 + twice)}, "2": {STEPS * ROWS}}


@pytest.mark.some(4)
@pytest.mark.parametrize("path", [path for path in NAMES if "fx" in path or "ispatch" in path])
@pytest.mark.parametrize("masked", [False, True], ids=["unmasked", "masked"])
def test_a_model_is_written_down_as_it_is_without(path, masked, tmp_path):
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU()), torch.randn(4, 6)
    holding = nn.Sequential(model)

    def graphs():
        traced = [torch.fx.symbolic_trace(holding), torch.fx.experimental.proxy_tensor.make_fx(model)(x)]
        return [str(graph.graph) for graph in traced]

    expected = graphs()
    mask = (lambda x: x[:, 0] > 0) if masked else None
    with without(path), Recorder(model, tmp_path / "run", mask=mask):
        model(x)
        assert graphs() == expected


def test_a_symbolic_trace_is_known_by_its_proxies(monkeypatch):
    monkeypatch.setattr(torch_private, "_symbolic", None)
    proxies = []

    class Model(nn.Module):
        def forward(self, x):
            proxies.append(x)
            return x

    torch.fx.symbolic_trace(Model())
    assert torch_private.is_symbolic((), {"x": [proxies[0]]})
    assert not torch_private.is_symbolic((torch.zeros(1), 3), {"x": [None]})


def kinds(module):
    """Which of the kinds of layers a module is one of."""
    layers = ("AVERAGING", "BATCH_NORM", "INSTANCE_NORM", "CONVOLUTION", "DROPOUT", "MAX_POOLING")
    return [kind for kind in layers if isinstance(module, getattr(torch_private, kind))]


@pytest.mark.parametrize("path", [path for path in NAMES if NAMES[path] is _PUBLIC_LAYERS])
def test_layers_are_known_by_their_public_classes_without(path):
    def all_kinds():
        return {layer: kinds(layer.__new__(layer)) for layer in layers}

    layers = [layer for layer in vars(nn).values() if isinstance(layer, type) and issubclass(layer, nn.Module)]
    expected = all_kinds()
    assert {kind for found in expected.values() for kind in found} >= {"CONVOLUTION", "DROPOUT", "INSTANCE_NORM"}
    with without(path):
        assert all_kinds() == expected


@pytest.mark.parametrize("name", [path for path in NAMES if "eval_frame" in path])
def test_hooks_are_left_to_the_compiler_without(name):
    with without(name):
        torch_private.leave_as_written(Hook.__call__.__code__)


def test_what_is_not_compiled_is_told_without_the_private_name():
    calls = []
    with without("torch._compile._disable_dynamo"):
        act = torch_private.not_compiled(calls.append)
    torch.compile(lambda x: act("called") or x + 1, backend="eager")(torch.zeros(1))
    assert calls == ["called"]


def exported_while_traced(x):
    return x + 1 if torch_private.is_exported() else x - 1


class Tracing(nn.Module):
    forward = staticmethod(exported_while_traced)


def test_a_compiled_model_is_not_exported_and_an_exported_one_is():
    """Traced, `torch.compiler.is_exporting` is true of both with older torches."""
    x = torch.zeros(1)
    assert exported_while_traced(x) == -1
    assert torch.compile(exported_while_traced, backend="eager", fullgraph=True)(x) == -1
    for strict in (True, False):
        assert torch.export.export(Tracing(), (x,), strict=strict).module()(x) == 1


def test_the_compiler_calls_what_torch_itself_would_have_it_call():
    marked = torch.compiler.assume_constant_result(lambda: True)
    assert vars(marked) == vars(torch_private.is_exported)


def test_where_the_compiler_counts_no_frames_it_has_compiled(monkeypatch):
    monkeypatch.setattr(torch._dynamo.convert_frame, "FRAME_COUNTER", 0)
    assert not torch_private.compiled_before()
    monkeypatch.delattr(torch._dynamo.convert_frame, "FRAME_COUNTER")
    assert torch_private.compiled_before()


def test_a_compiler_without_the_setting_keeps_its_settings(monkeypatch):
    assert torch_private.compiler_settings() is torch._dynamo.config
    monkeypatch.setattr("icshift.model.torch_private.import_module", lambda _: SimpleNamespace(other=1))
    settings = torch_private.compiler_settings()
    settings.skip_nnmodule_hook_guards = False
    assert settings is not torch._dynamo.config


def test_arguments_of_functions_are_found_where_apply_is_python(monkeypatch):
    class Noting(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            noted.append(list(given_to_functions()))
            return x.clone()

        @staticmethod
        def backward(_, gradient):
            return gradient

    noted, x = [], torch.zeros(1, requires_grad=True)
    python = torch_private._apply is not None  # Up to torch 2.13 it is, in 2.15 no longer.
    Noting.apply(x)
    monkeypatch.setattr(torch_private, "_apply", None)
    Noting.apply(x)
    assert [argument is x for argument in noted[0]] == [True] * python
    assert noted[1:] == [[]]


def test_the_iterator_of_loaders_is_found_and_draws_no_random_number():
    before = torch.get_rng_state()
    found = loader_iterator()
    assert torch.equal(torch.get_rng_state(), before)
    data = TensorDataset(torch.zeros(4))
    assert all(isinstance(iter(DataLoader(data, num_workers=workers)), found) for workers in (0, 1))
    assert found.__module__ == "torch.utils.data.dataloader"


def test_loaders_whose_iterators_are_no_classes_of_torch_end_no_pass(monkeypatch):
    monkeypatch.setattr(DataLoader, "__iter__", lambda _: iter(()))
    with pytest.raises(StopIteration):
        loader_iterator()().__next__()
