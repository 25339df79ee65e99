"""Where other recorders of activations were seen to fail; each test is named after what was tried on all of them."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.oracles.hooks import Witness, assert_moments, assert_recorded, hooks_on, leaves, values


def network():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def train(model, inputs, *, optimizer=None, witness=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in inputs:
        optimizer.zero_grad()
        output = model(batch)
        (output[0] if isinstance(output, tuple) else output).float().nan_to_num().square().mean().backward()
        optimizer.step()
        if witness:
            witness.end()


def recorded(model, path, inputs, *, calls=None):
    """Train under a recorder of every leaf and under plain hooks; gives the run and what the hooks kept."""
    witness = Witness(leaves(model), calls)
    with Recorder(model, path, sites="all", samples="all"):
        train(model, inputs, witness=witness)
    return StoredRun(path), witness.by_site


def batches(*shape, steps=5, dtype=torch.float32):
    return [torch.randn(*shape).to(dtype) for _ in range(steps)]


def saved_while_attached(path):
    model, file = network(), io.BytesIO()
    with Recorder(model, path):
        train(model, batches(12, 6))
        torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    data = torch.randn(4, 6)
    assert torch.equal(again(data), model(data))
    assert b"icshift" not in file.getvalue(), "it loads where there is no icshift"


def copied_while_attached(path):
    model = network()
    with Recorder(model, path, samples="all"):
        train(model, batches(12, 6))
        average = copy.deepcopy(model)
        train(average, batches(50, 6))
        average.eval()(torch.randn(50, 6))
        train(model, batches(12, 6))
    run = StoredRun(path)
    assert run.phases == ["train"]
    assert run.steps()["step"].nunique() == 10
    assert run.steps()["count"].unique().tolist() == [12], "the copy fires no hook"


def hooks_left_afterwards(path):
    model = network()
    train(model, batches(12, 6))
    before = hooks_on(model)
    with Recorder(model, path):
        train(model, batches(12, 6))
        assert hooks_on(model) > before
    assert hooks_on(model) == before


def relu_used_twice(path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.relu = nn.Linear(6, 8), nn.Linear(8, 4), nn.ReLU()

        def forward(self, x):
            return self.relu(self.second(self.relu(self.first(x))))

    run, steps = recorded(Twice(), path, batches(12, 6), calls={"relu": 2})
    assert [(site.name, site.units) for site in run.sites] == [("first", 8), ("relu", 8), ("second", 4), ("relu#2", 4)]
    assert_recorded(run, steps)


class Checkpointed(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.how = how
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.block = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))

    def forward(self, x):
        return self.head(checkpoint(self.block, self.stem(x), **self.how))


def checkpointed(path, **how):
    """Plain hooks count what is computed again; the recording is that of the same training without checkpoints."""
    model = Checkpointed(**how)
    plain = copy.deepcopy(model)
    plain.forward = lambda x: plain.head(plain.block(plain.stem(x)))
    data = batches(12, 6)
    witness = Witness(leaves(plain))
    train(plain, data, witness=witness)
    fired = Witness(leaves(model))
    with Recorder(model, path, sites="all", samples="all"):
        train(model, data, witness=fired)
    assert_recorded(StoredRun(path), witness.by_site)
    return {name: {len(forwards) for forwards in steps} for name, steps in fired.by_site.items()}


def checkpoint_reentrant(path):
    fired = checkpointed(path, use_reentrant=True)
    assert fired["block.0"] == fired["block.4"] == {2}, "nothing was computed twice, so nothing was tested"


def checkpoint_not_reentrant(path):
    # What is computed again ends where nothing more is needed: before the last layer of the block.
    fired = checkpointed(path, use_reentrant=False)
    assert fired["block.0"] == fired["block.2"] == {2}
    assert fired["block.4"] == {1}, "nothing ended early, so nothing was tested"


def lstm_output(path):
    model = nn.LSTM(6, 5, num_layers=2, batch_first=True)
    run, steps = recorded(model, path, batches(4, 7, 6))
    assert [(site.name, site.units) for site in run.sites] == [("(model)", 5)]
    assert_recorded(run, steps)


def nan_batch(path):
    data = batches(12, 6)
    data[2][0] = float("nan")
    data[2][1, 0] = float("inf")
    model = network()
    witness = Witness(leaves(model))
    with Recorder(model, path, sites="all", samples="all") as recorder:
        for batch in data:
            model(batch)
            recorder.step()
            witness.end()
    run = StoredRun(path)
    table = run.steps()
    for site, steps in witness.by_site.items():
        for number, tensors in enumerate(steps):
            rows = table[(table["site"] == site) & (table["step"] == number)]
            every = values(tensors)
            assert_moments(rows, every)
            # Not dead: what is not finite is left out of the share of zeros.
            finite = np.isfinite(every)
            np.testing.assert_allclose(rows["zero_share"], (every == 0).sum(0) / finite.sum(0), rtol=1e-6)
        assert_moments(run.distribution("train", site, 1), values([tensor for tensors in steps for tensor in tensors]))
    broken = table[table["nonfinite"] > 0]
    assert broken["step"].unique().tolist() == [2]
    assert set(broken["site"]) == {"0", "1", "2"}
    assert broken.notna().all(axis=None)


def bf16(path):
    run, steps = recorded(network().to(torch.bfloat16), path, batches(12, 6, dtype=torch.bfloat16))
    assert {tensor.dtype for kept in steps.values() for tensors in kept for tensor in tensors} == {torch.bfloat16}
    assert_recorded(run, steps)


ROWS = {
    "torch.save(model) while attached": saved_while_attached,
    "deepcopy(model) while attached": copied_while_attached,
    "hooks left after its own detach/close": hooks_left_afterwards,
    "ReLU used twice": relu_used_twice,
    "checkpoint, reentrant": checkpoint_reentrant,
    "checkpoint, non-reentrant": checkpoint_not_reentrant,
    "LSTM tuple output": lstm_output,
    "NaN batch": nan_batch,
    "bf16": bf16,
}


@pytest.mark.some(3)
@pytest.mark.parametrize("row", ROWS)
def test_no_worse_than_the_best(row, tmp_path):
    ROWS[row](tmp_path / "run")
