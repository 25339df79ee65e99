"""What else may be in a graph beside the layers: checkpoints, errors, optimizers, transforms, padding."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from icshift.errors import RecordingError
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.hooks.compiling import Network, Small, assert_same, batch, learn, network, sgd
from tests.oracles.hooks import Witness, assert_recorded, counts, leaves

pytestmark = pytest.mark.usefixtures("quiet_compiler")


@pytest.mark.some(1)
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
    assert_recorded(StoredRun(tmp_path / "run"), witness.by_site)


@pytest.mark.parametrize("error", [pytest.param(ValueError, marks=pytest.mark.thorough), KeyboardInterrupt])
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
    found = counts(StoredRun(tmp_path / "run"))
    assert found["head"] == {0: 12, 1: 12, 2: 12, 3: 12}
    assert set(found) == {"stem", "block.norm", "block.up", "head"}, "no second call in any forward"


@pytest.mark.thorough
def test_an_optimizer_compiled_with_its_steps(tmp_path):
    model = network(Small)
    for given in (False, True):
        optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.01))
        step = torch.compile(optimizer.step, backend="eager")
        with Recorder(model, tmp_path / str(given), optimizer=optimizer if given else None):
            for _ in range(4):
                optimizer.zero_grad()
                model(batch()).square().mean().backward()
                step()
        assert counts(StoredRun(tmp_path / str(given)))["stem"] == dict.fromkeys(range(4), 12)


@pytest.mark.thorough
@pytest.mark.parametrize("backend", [pytest.param("eager", marks=pytest.mark.thorough), "aot_eager"])
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
        found, expected = (StoredRun(tmp_path / f"{name} {compiled}") for compiled in (True, False))
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
    found, expected = (StoredRun(tmp_path / str(compiled)) for compiled in (True, False))
    assert set(found.steps()["count"]) < set(range(20, 40))
    assert_same(found, expected)


@pytest.mark.some(1)
@pytest.mark.parametrize("mask", [lambda x: [len(x)], lambda x: x.nothing])
def test_a_mask_that_cannot_be_had_in_a_graph_ends_the_recording_and_not_the_training(mask, tmp_path):
    model = network(Small)
    call = torch.compile(lambda x: model(x) + 0, backend="eager", fullgraph=True)
    with pytest.raises(RecordingError, match="mask"), Recorder(model, tmp_path / "run", mask=mask, strict=True):  # noqa: PT012
        with pytest.warns(RuntimeWarning, match="mask"):
            learn(call, sgd(model), 1)
        learn(call, sgd(model))
