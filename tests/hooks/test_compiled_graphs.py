"""What the compiler makes of a recorded model: no more graphs than without, and the same training."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.hooks.compiling import Block, Small, batch, graphs, learn, network, sgd, whole_training
from tests.oracles.hooks import counts

pytestmark = pytest.mark.usefixtures("quiet_compiler")


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


@pytest.mark.some(1)
@pytest.mark.parametrize("dynamic", [None, True])
def test_batches_of_any_size_share_a_graph(dynamic, tmp_path):
    model = network(Small)
    call = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    optimizer, sizes, seen = sgd(model), [12, 20, 7, 33, 12, 5, 64, 19], []
    with Recorder(model, tmp_path / "run", sites=["stem", "head"], samples="all"):
        for rows in sizes:
            optimizer.zero_grad()
            inputs = batch(rows)
            call(inputs).square().mean().backward()
            optimizer.step()
            seen.append(graphs())
    assert counts(StoredRun(tmp_path / "run")) == {name: dict(enumerate(sizes)) for name in ("stem", "head")}
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


@pytest.mark.some(1)
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
    run = StoredRun(tmp_path / "run")
    assert {site.name for site in run.sites} == {name or "(model)" for name, _ in stacked(12).named_modules()} - {
        "blocks"
    }
    assert set(run.steps()["count"]) == {10}


@pytest.mark.thorough
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
        for rows in (4, 5):
            model(torch.randn(rows, 3)).square().mean().backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
            model.eval()
            with torch.no_grad():
                model(torch.randn(rows, 3))
            model.train()
    run = StoredRun(tmp_path / "run")
    assert [site.units for site in run.sites] == [3, 2, 3, 3, 3, 24]
    assert run.distribution("eval", "0", 1).count.tolist() == [9] * 3


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
    assert StoredRun(tmp_path / "run").distribution("eval", "stem", 1).count.tolist() == [12] * 8
