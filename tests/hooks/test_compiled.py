"""`torch.compile`: a compiled model is recorded as the model itself, and the compiler does not notice."""

import copy
import logging
import warnings
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.utils.checkpoint import checkpoint

from icshift.errors import RecordingError
from icshift.hooks import compiled as operators
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.reader import Run
from tests import laws
from tests.oracles.hooks import Witness, assert_recorded, counts, hooks_on, leaves, ledger
from tests.zoo.models import specimens

KINDS = specimens(
    "channels_last",
    "inplace_relu",
    "inplace_on_its_input",
    "lstm",
    "packed_sequence",
    "attention_over_sequences_of_changing_length",
    "encoder_layer",
    "decoder",
    "dict_output",
    "list_output",
    "dataclass_output",
    "namedtuple_output",
    "kwargs_only",
    "autocast",
    "complex_intermediate",
    "frozen",
    "empty_batch",
    "buffers_and_attributes_changed_by_forward",
    "unbatched_cells",
)

LOGGERS = ("torch", "torch._dynamo", "torch._functorch", "torch._inductor")


class Heard(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        # This one is told of every optimizer that is compiled.
        if not record.getMessage().startswith("Profiler record function"):
            self.messages.append(record.getMessage())


@pytest.fixture(autouse=True)
def quiet_compiler():
    """Every test begins with nothing compiled, and in none does the compiler complain."""
    torch.compiler.reset()
    counters.clear()
    heard = Heard()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(heard)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(heard)
    torch.compiler.reset()
    assert not heard.messages
    assert not [str(warning.message) for warning in warned if "_dynamo" in warning.filename]
    assert not operators._actions, "keys of graphs are forgotten when a recording ends"
    assert torch._dynamo.config.skip_nnmodule_hook_guards, "settings of the compiler are what they were"


def graphs():
    return counters["stats"]["unique_graphs"]


def breaks():
    return sum(counters["graph_break"].values())


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.act, self.down = nn.LayerNorm(8), nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)

    def forward(self, x):
        return x + self.down(self.act(self.up(self.norm(x))))


class Network(nn.Module):
    """It uses its block twice, and its activation three times."""

    def __init__(self, block=None):
        super().__init__()
        self.stem, self.norm, self.act = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()
        self.block, self.head = block or Block(), nn.Linear(8, 4)

    def forward(self, x):
        x = self.act(self.norm(self.stem(x)))
        x = self.act(self.block(x))
        return self.head(self.act(self.block(x)))


CALLS = {"act": 3, **{f"block.{name}": 2 for name in ("norm", "up", "act", "down")}}


def network(build=Network):
    torch.manual_seed(3)
    return build()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def batch(rows=12):
    return torch.randn(rows, 6)


def learn(call, optimizer, steps=3, rows=12):
    for _ in range(steps):
        optimizer.zero_grad()
        call(batch(rows)).square().mean().backward()
        optimizer.step()


def whole_training(model, call, recorder=None):
    """Steps, evaluations between them, the end of a window, and a last batch that is smaller; gives its losses."""
    optimizer, random = sgd(model), torch.Generator().manual_seed(5)
    losses = []
    for step in range(8):
        optimizer.zero_grad()
        loss = call(torch.randn(5 if step == 7 else 12, 6, generator=random)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 3 == 1:
            model.eval()
            with torch.no_grad():
                call(torch.randn(9, 6, generator=random))
            model.train()
        if step == 3 and recorder:
            recorder.epoch("first half")
    return losses


def recording(path, compiled=lambda model: model, build=Network, **options):
    model = network(build)
    with Recorder(model, path, **{"sites": "*", "samples": "all", **options}) as recorder:
        losses = whole_training(model, compiled(model), recorder)
    return Run(path), losses, model


def assert_same(found, expected, tolerance=0.0):
    """Two runs hold the same, or (with a tolerance) nearly the same numbers."""
    for site, other in zip(found.sites, expected.sites, strict=True):
        assert (site.name, site.type, site.axis, site.units) == (other.name, other.type, other.axis, other.units)
    for window, other in zip(found.window_list, expected.window_list, strict=True):
        assert window == replace(other, parameter_change=pytest.approx(other.parameter_change, rel=1e-5))
    assert found.phases == expected.phases
    assert ledger(found) == ledger(expected)
    pd.testing.assert_frame_equal(
        found.steps(), expected.steps(), check_exact=not tolerance, rtol=tolerance, atol=tolerance
    )
    for window in expected.window_list:
        for phase in expected.phases:
            for site in expected.sites:
                one, other = (run.distribution(phase, site.name, window.index) for run in (found, expected))
                assert (one is None) == (other is None)
                if one is None:
                    continue
                if tolerance:
                    assert one.count.tolist() == other.count.tolist()
                    assert one.sampled.tolist() == other.sampled.tolist()
                    for name in ("mean", "std", "min", "max", "values"):
                        ours, theirs = getattr(one, name), getattr(other, name)
                        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=site.name)
                else:
                    laws.assert_identical(one, other)


@pytest.fixture(scope="module")
def of_eager(tmp_path_factory):
    """The recording of the training of the network that is not compiled."""
    return recording(tmp_path_factory.mktemp("eager") / "run")[0]


# Compiled before or after it is attached, whole or in parts: the recording is that of the model itself.


@pytest.mark.parametrize(("backend", "tolerance"), [("eager", 0.0), ("aot_eager", 1e-6)])
def test_a_compiled_model_is_recorded_as_the_model_itself(backend, tolerance, of_eager, tmp_path):
    found, _, _ = recording(tmp_path / "run", lambda m: torch.compile(m, backend=backend, fullgraph=True))
    assert {"act#2", "act#3", "block#2", "block.up#2", "(model)"} < {site.name for site in found.sites}
    assert found.phases == ["train", "eval"]
    assert_same(found, of_eager, tolerance)
    assert not breaks()


def test_a_model_compiled_by_inductor_is_recorded_as_the_model_itself(tmp_path):
    def small():
        return nn.Sequential(nn.Linear(6, 8), relu := nn.ReLU(), nn.LayerNorm(8), relu, nn.Linear(8, 3))

    for name in ("eager", "inductor"):
        model = network(small)
        call = torch.compile(model, backend=name, fullgraph=True)
        torch.manual_seed(5)
        with Recorder(model, tmp_path / name, sites="*", samples="all"):
            learn(call, sgd(model), steps=4)
    found, expected = Run(tmp_path / "inductor"), Run(tmp_path / "eager")
    assert [site.name for site in found.sites] == ["0", "1", "2", "1#2", "4", "(model)"]
    assert_same(found, expected, 1e-5)
    assert not breaks()


@pytest.mark.parametrize("specimen", KINDS, ids=lambda specimen: specimen.name)
def test_every_kind_of_model_is_recorded_compiled_as_it_is_without(specimen, tmp_path):
    """Outputs of all forms and types; where the compiler breaks the graph itself, it breaks it no more often."""

    def train(path, compiled, recorded=True):
        torch.compiler.reset()
        counters.clear()
        torch.manual_seed(7)
        model, make_batch = specimen.build()
        random = np.random.default_rng(7)
        args, kwargs = make_batch(random)
        model.eval()(*args, **kwargs)  # Lazy layers are initialised.
        call = torch.compile(model, backend="eager") if compiled else model
        optimizer = torch.optim.SGD(model.train().parameters(), lr=0.05)
        with Recorder(model, path, sites="*", samples="all") if recorded else nullcontext():
            for step in range(3):
                args, kwargs = make_batch(random)
                optimizer.zero_grad()
                specimen.loss(call(*args, **kwargs)).backward()
                optimizer.step()
                if step == 1:
                    model.eval()
                    with torch.no_grad():
                        call(*args, **kwargs)
                    model.train()
        return Run(path) if recorded else None

    train(None, compiled=True, recorded=False)
    without, graphs_without = breaks(), graphs()
    found = train(tmp_path / "compiled", compiled=True)
    assert breaks() == without
    # One more, after the first forward: the hooks that follow a tensor from layer to layer are gone then.
    assert graphs() <= graphs_without + 1
    assert_same(found, train(tmp_path / "eager", compiled=False), 1e-6)


def in_place(model):
    model.compile(backend="eager", fullgraph=True)
    return model


def parts_in_place(model):
    model.block.compile(backend="eager", fullgraph=True)
    model.block.norm.compile(backend="eager")
    return model


def parts_replaced(model):
    model.block = torch.compile(model.block, backend="eager", fullgraph=True)
    model.head = torch.compile(model.head, backend="eager", fullgraph=True)
    return model


def called_by_a_function(model):
    return torch.compile(lambda x: model(x) + 0, backend="eager", fullgraph=True)


@pytest.mark.parametrize("way", [in_place, parts_in_place, parts_replaced, called_by_a_function])
@pytest.mark.parametrize("used", [False, True])
def test_sites_have_the_names_that_they_have_without(way, used, of_eager, tmp_path):
    """Compiled within the recorder's block, or even used before."""
    if used:
        model = network()
        before = copy.deepcopy(model.state_dict())
        call = way(model)
        call(batch())
        assert graphs()
        # In place: the buffers of the graph stay those of the model.
        for name, tensor in model.state_dict().items():
            tensor.copy_(before[name.replace("_orig_mod.", "")])
        with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
            whole_training(model, call, recorder)
        found = Run(tmp_path / "run")
    else:
        found, _, _ = recording(tmp_path / "run", way)
    assert_same(found, of_eager)
    assert not breaks()


def test_a_function_may_call_the_model_more_than_once(tmp_path):
    model = network()
    call = torch.compile(lambda x: model(x) + model(2 * x), backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run"):
        learn(call, sgd(model))
    found = counts(Run(tmp_path / "run"))
    assert found.pop("block.up#2") == {0: 24, 1: 24, 2: 24}
    assert "block.up#3" not in found, "each call of the model is a forward"


def test_a_recorder_given_the_compiled_model_records_what_is_in_it(tmp_path):
    model = network()
    call = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(call, tmp_path / "run"):
        learn(call, sgd(model))
    run = Run(tmp_path / "run")
    assert run.manifest["model"] == "Network"
    assert not [site.name for site in run.sites if "_orig_mod" in site.name]


# What the compiler sees of it.


def test_steps_make_no_new_graphs(tmp_path):
    model = network()
    call = torch.compile(model, backend="eager", fullgraph=True)
    optimizer, seen = sgd(model), []
    with Recorder(model, tmp_path / "run", sites="*", window=3, samples=4):
        for _ in range(12):
            learn(call, optimizer, 1)
            seen.append(graphs())
    assert seen[1:] == [seen[1]] * 11
    assert seen[1] <= 2


@pytest.mark.parametrize("dynamic", [None, True])
def test_batches_of_any_size_share_a_graph(dynamic, tmp_path):
    model = network()
    call = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    optimizer, sizes, seen = sgd(model), [12, 20, 7, 33, 12, 5, 64, 19], []
    with Recorder(model, tmp_path / "run", sites=["stem", "head"], samples="all"):
        for rows in sizes:
            optimizer.zero_grad()
            inputs = batch(rows)
            call(inputs).square().mean().backward()
            optimizer.step()
            seen.append(graphs())
    assert counts(Run(tmp_path / "run")) == {name: dict(enumerate(sizes)) for name in ("stem", "head")}
    assert len(set(seen[2:])) == 1


def stacked(layers):
    class Stack(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Block() for _ in range(layers))

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    return Stack()


@pytest.mark.parametrize("replaced", [False, True])
def test_layers_that_are_compiled_one_by_one_share_their_graphs(replaced, tmp_path):
    """More layers than graphs that the compiler allows a function."""
    torch.manual_seed(3)
    model = stacked(12)
    for place, block in enumerate(model.blocks):
        if replaced:
            model.blocks[place] = torch.compile(block, backend="eager", fullgraph=True)
        else:
            block.compile(backend="eager", fullgraph=True)
    optimizer = sgd(model)
    with Recorder(model, tmp_path / "run", sites="*"):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(10, 8)).square().mean().backward()
            optimizer.step()
        assert graphs() <= 4
    run = Run(tmp_path / "run")
    assert {site.name for site in run.sites} == {name or "(model)" for name, _ in stacked(12).named_modules()} - {
        "blocks"
    }
    assert set(run.steps()["count"]) == {10}


def test_outputs_of_all_shapes_of_separately_compiled_layers(tmp_path):
    """The compiler would make a graph of every hook that it meets alone, and they are one function to it."""

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

    # The compiler sees one function in calls of one class, so each has its own.
    a, b, c, d, e, f = parts = [Scale() for _ in range(6)]
    a.forward = lambda x: a.weight * x
    b.forward = lambda x: b.weight * x[:, :, None].expand(-1, -1, 2)
    c.forward = lambda x: c.weight * x[:, :, None].expand(-1, -1, 2, -1)
    d.forward = lambda x: d.weight * x.double()
    e.forward = lambda x: e.weight * x[:, :, None].expand(-1, -1, 2, -1, -1)
    f.forward = lambda x: f.weight * x.flatten(1)
    model = nn.Sequential(*parts)
    for part in parts:
        part.compile(backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run"):
        for rows in (4, 5, 6):
            model(torch.randn(rows, 3)).square().mean().backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
            model.eval()
            with torch.no_grad():
                model(torch.randn(rows, 3))
            model.train()
    run = Run(tmp_path / "run")
    assert [site.units for site in run.sites] == [3, 2, 3, 3, 3, 24]
    assert run.distribution("eval", "0", 1).count.tolist() == [15] * 3


def test_the_training_is_that_of_the_compiled_model_without_a_recorder(tmp_path):
    def train(watch):
        model = network()
        with watch(model) as recorder:
            losses = whole_training(model, torch.compile(model, backend="eager", fullgraph=True), recorder)
        return losses, model.state_dict()

    losses, state = train(lambda _: nullcontext())
    found, changed = train(
        lambda model: Recorder(model, tmp_path / "run", sites="*", probe=Probe(torch.ones(4, 6), train_mode=True))
    )
    assert found == losses
    assert all(torch.equal(changed[name], state[name]) for name in state)


def test_nothing_of_it_is_in_an_exported_program(tmp_path):
    model = network().eval()
    with Recorder(model, tmp_path / "run"):
        model(batch())
        program = torch.export.export(model, (batch(),))
    assert "icshift" not in str(program.graph)
    assert Run(tmp_path / "run").distribution("eval", "stem", 1).count.tolist() == [12] * 8


# Recorders that come and go.


def test_after_its_end_the_compiled_model_goes_on_unrecorded(tmp_path):
    model, inputs = network(), batch()
    call = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run"):
        learn(call, sgd(model))
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert not hooks_on(model)
    assert torch.equal(model.eval()(inputs), call(inputs))
    learn(call, sgd(model.train()))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_second_recorder_records_what_the_first_has_left(tmp_path):
    model, optimizer = network(), None
    call, optimizer = torch.compile(model, backend="eager", fullgraph=True), sgd(model)
    with Recorder(model, tmp_path / "first"):
        learn(call, optimizer)
    learn(call, optimizer, rows=50)
    with Recorder(model, tmp_path / "second", sites=["stem", "head"]):
        learn(call, optimizer, rows=7)
    first, second = (Run(tmp_path / name) for name in ("first", "second"))
    assert set(first.steps()["count"]) == {12}
    assert counts(second) == {name: {0: 7, 1: 7, 2: 7} for name in ("stem", "head")}


def test_a_pause_records_nothing_and_compiles_nothing(tmp_path):
    model = network()
    call, optimizer, seen = torch.compile(model, backend="eager", fullgraph=True), sgd(model), []
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(4):
            learn(call, optimizer, 2)
            with recorder.paused():
                learn(call, optimizer, 2)
            seen.append(graphs())
    assert counts(Run(tmp_path / "run"))["stem"] == dict.fromkeys(range(8), 12)
    assert len(set(seen)) == 1


def test_what_is_compiled_in_a_pause_is_recorded_after_it(tmp_path):
    model = network()
    call, optimizer = torch.compile(model, backend="eager", fullgraph=True), sgd(model)
    with Recorder(model, tmp_path / "run") as recorder:
        with recorder.paused():
            assert not hooks_on(model)
            learn(call, optimizer, rows=50)
        learn(call, optimizer)
    assert counts(Run(tmp_path / "run"))["stem"] == {0: 12, 1: 12, 2: 12}


@pytest.mark.parametrize("first", ["student", "teacher"])
def test_a_model_of_the_same_class_that_is_not_recorded(first, tmp_path):
    """Of two modules of a class the compiler sees one function, and takes the graph of the one for the other."""
    model = network()
    teacher = copy.deepcopy(model)
    student_call, teacher_call = (torch.compile(one, backend="eager", fullgraph=True) for one in (model, teacher))
    optimizer = sgd(model)
    with Recorder(model, tmp_path / "run"):
        if first == "teacher":
            teacher_call(batch(50))
        for _ in range(4):
            learn(student_call, optimizer, 1)
            teacher_call(batch(50))
    assert counts(Run(tmp_path / "run"))["stem"] == dict.fromkeys(range(4), 12)


def test_two_models_with_a_recorder_each_come_and_go(tmp_path):
    models = [network() for _ in range(2)]
    calls = [torch.compile(model, backend="eager", fullgraph=True) for model in models]
    optimizers = [sgd(model) for model in models]
    with Recorder(models[0], tmp_path / "0"):
        learn(calls[0], optimizers[0], 2)
        with Recorder(models[1], tmp_path / "1"):
            for call, optimizer, rows in zip(calls, optimizers, (12, 7), strict=True):
                learn(call, optimizer, 3, rows)
        learn(calls[1], optimizers[1], 2, rows=50)
        learn(calls[0], optimizers[0], 2)
    assert counts(Run(tmp_path / "0"))["block.up#2"] == dict.fromkeys(range(7), 12)
    assert counts(Run(tmp_path / "1"))["block.up#2"] == dict.fromkeys(range(3), 7)


def test_two_recorders_of_one_compiled_model(tmp_path):
    model = network()
    call = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "a", samples="all"), Recorder(model, tmp_path / "b", samples="all"):
        learn(call, sgd(model))
    assert_same(Run(tmp_path / "a"), Run(tmp_path / "b"))


def test_compiled_in_one_phase_and_not_in_the_other(of_eager, tmp_path):
    model = network()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
        whole_training(model, lambda x: compiled(x) if model.training else model(x), recorder)
    assert_same(Run(tmp_path / "run"), of_eager)


def test_a_layer_that_comes_later_is_recorded_from_then_on(tmp_path):
    model = network()
    call, optimizer = torch.compile(model, backend="eager", fullgraph=True), sgd(model)
    with Recorder(model, tmp_path / "run"):
        learn(call, optimizer, 2)
        model.head = nn.Sequential(model.head, nn.Linear(4, 3))
        learn(call, optimizer, 2)
    found = counts(Run(tmp_path / "run"))
    assert found["head.1"] == {2: 12, 3: 12}
    assert found["stem"] == dict.fromkeys(range(4), 12)


# What else there may be in a graph.


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_checkpointed_part_is_counted_once(backend, tmp_path):
    class Checkpointed(Network):
        def forward(self, x):
            return self.head(checkpoint(self.block, self.stem(x), use_reentrant=False))

    model = network(Checkpointed)
    plain = copy.deepcopy(model)
    plain.forward = lambda x: plain.head(plain.block(plain.stem(x)))
    witness = Witness({name: module for name, module in leaves(plain).items() if name not in ("norm", "act")})
    call = torch.compile(model, backend=backend, fullgraph=True)
    with Recorder(model, tmp_path / "run", sites="all", samples="all"):
        optimizers = sgd(model), sgd(plain)
        for _ in range(3):
            inputs = batch()
            for one, optimizer in zip((call, plain), optimizers, strict=True):
                optimizer.zero_grad()
                one(inputs).square().mean().backward()
                optimizer.step()
            witness.end()
    assert_recorded(Run(tmp_path / "run"), witness.by_site)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_a_compiled_forward_ends_that_forward(error, tmp_path):
    class Raising(Network):
        def forward(self, x):
            x = self.block(self.act(self.stem(x)))
            if len(x) == 13:
                raise error("thirteen")
            return self.head(x)

    model = network(Raising)
    call, optimizer = torch.compile(model, backend="eager"), sgd(model)
    with Recorder(model, tmp_path / "run"):
        learn(call, optimizer, 2)
        for _ in range(2):
            with pytest.raises(error):
                call(batch(13))
        learn(call, optimizer, 2)
    found = counts(Run(tmp_path / "run"))
    assert found["head"] == {0: 12, 1: 12, 2: 12, 3: 12}
    assert set(found) == {"stem", "block.norm", "block.up", "block.down", "head"}, "no second call in any forward"


def test_an_optimizer_compiled_with_its_steps(tmp_path):
    model = network()
    for given in (False, True):
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
        step = torch.compile(optimizer.step, backend="eager")
        with Recorder(model, tmp_path / str(given), optimizer=optimizer if given else None):
            for _ in range(4):
                optimizer.zero_grad()
                model(batch()).square().mean().backward()
                step()
        assert counts(Run(tmp_path / str(given)))["stem"] == dict.fromkeys(range(4), 12)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_function_transforms_within_a_graph(backend, tmp_path):
    """As in eager mode: an example of a batch that is mapped over has the units that it has alone."""
    transforms = {
        "twice": lambda call: torch.vmap(torch.vmap(call)),
        "gradients of each": lambda call: torch.vmap(torch.func.grad(lambda x: call(x).sum())),
    }
    for name, transform in transforms.items():
        for compiled in (True, False):
            torch.manual_seed(7)
            model = nn.Sequential(nn.Conv1d(2, 3, 2), nn.ReLU(), nn.Conv1d(3, 4, 2))
            with Recorder(model, tmp_path / f"{name} {compiled}", samples="all") as recorder:
                call = transform(lambda x: model(x) + 0)  # noqa: B023
                if compiled:
                    call = torch.compile(call, backend=backend, fullgraph=True)
                for seed in range(2):
                    torch.manual_seed(seed)
                    for parameter in model.parameters():
                        nn.init.normal_(parameter)
                    call(torch.randn(3, 5, 2, 6) if name == "twice" else torch.randn(5, 2, 6))
                    recorder.step()
        found, expected = (Run(tmp_path / f"{name} {compiled}") for compiled in (True, False))
        assert [(site.axis, site.units) for site in found.sites] == [(0, 3), (0, 4)]
        assert_same(found, expected)


def test_padding_is_left_out_of_compiled_forwards(tmp_path):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(9, 6), nn.Linear(6, 3)

        def forward(self, tokens):
            return self.head(self.embed(tokens))

    for compiled in (True, False):
        model = network(Tokens)
        call = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
        optimizer, random = sgd(model), torch.Generator().manual_seed(5)
        with Recorder(model, tmp_path / str(compiled), samples="all", mask=lambda tokens: tokens == 0):
            for _ in range(3):
                optimizer.zero_grad()
                call(torch.randint(0, 9, (4, 10), generator=random)).square().mean().backward()
                optimizer.step()
    found, expected = (Run(tmp_path / str(compiled)) for compiled in (True, False))
    assert set(found.steps()["count"]) < set(range(20, 40))
    assert_same(found, expected)


@pytest.mark.parametrize("mask", [lambda x: [len(x)], lambda x: x.nothing])
def test_a_mask_that_cannot_be_had_in_a_graph_ends_the_recording_and_not_the_training(mask, tmp_path):
    model = network()
    call = torch.compile(lambda x: model(x) + 0, backend="eager", fullgraph=True)
    with pytest.raises(RecordingError, match="mask"), Recorder(model, tmp_path / "run", mask=mask):  # noqa: PT012
        with pytest.warns(RuntimeWarning, match="mask"):
            learn(call, sgd(model), 1)
        learn(call, sgd(model))
