"""Inputs sent through a model at rest, and what every site shows of them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from icshift.errors import ModelError, RecordingError
from icshift.inputs.data import Reading, as_data
from icshift.model.sites import Sites
from icshift.replay.replayer import Replayer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout()

    def forward(self, x, *, scale=1.0):
        return self.drop(self.norm(self.fc(x * scale)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def x():
    return torch.randn(10, 3, generator=torch.Generator().manual_seed(1))


def data(model, inputs, batch_size=4):
    return as_data(inputs, model, Reading(batch_size))


def taken(replayer):
    return {(phase, site.name): seen for (phase, site), seen in replayer.taken().items()}


def test_every_site_shows_what_eval_mode_gives(model, x):
    with Replayer(model, Sites(), math.inf) as replayer:
        replayer.replay(data(model, x), "probe")
        seen = taken(replayer)
    assert set(seen) == {("probe", "fc"), ("probe", "norm")}
    with torch.no_grad():
        expected = model.eval().norm(model.fc(x))
    np.testing.assert_allclose(seen["probe", "norm"].mean, expected.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.sort(seen["probe", "norm"].values), np.sort(expected.T), rtol=1e-5, atol=1e-6)


def test_batch_norm_may_normalise_by_the_batch(model, x):
    with Replayer(model, Sites(), math.inf) as replayer:
        replayer.replay(data(model, x, batch_size=10), "probe-batch", "batch")
        seen = taken(replayer)
    np.testing.assert_allclose(seen["probe-batch", "norm"].mean, np.zeros(4), atol=1e-6)


def test_it_listens_while_it_sends_and_leaves_the_model_as_it_was(model, x):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with Replayer(model, Sites(), math.inf) as replayer:
        model.eval()(x)
        assert not taken(replayer)
        model.train()
        replayer.replay(data(model, x), "probe")
        assert model.training
        assert not any(module._forward_hooks for module in model.modules())
        assert all((seen.count == len(x)).all() for seen in taken(replayer).values())
        assert not taken(replayer)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_enters_the_model_can_be_a_site_and_comes_first(model, x):
    inputs = {"x": x, "scale": torch.full((10, 1), 2.0)}
    with Replayer(model, Sites(), math.inf, inputs=True) as replayer:
        replayer.replay(data(model, inputs), "data")
        seen, state = taken(replayer), replayer.state()
    assert [site["name"] for site in state["sites"]][:2] == ["(input).x", "(input).scale"]
    np.testing.assert_allclose(seen["data", "(input).x"].mean, x.mean(0), rtol=1e-4, atol=1e-6)


def test_parts_share_the_examples_out_and_together_are_the_whole(model, x):
    forwards = []
    with Replayer(model, Sites(), math.inf) as replayer:
        parts = replayer.replay_in_parts(data(model, x), "data", 5, lambda: forwards.append(1))
        whole = taken(replayer)["data", "fc"]
    of_fc = parts["data", "fc"]
    assert len(of_fc) == 5
    assert len(forwards) >= 5
    together = np.concatenate([part.values for part in of_fc], axis=1)
    np.testing.assert_array_equal(np.sort(together), np.sort(whole.values))


def test_a_replay_repeats_exactly(model):
    """Sketches of a model that has not changed are the same, though they are of a sample."""
    many = torch.randn(5000, 3, generator=torch.Generator().manual_seed(2))
    values = []
    with Replayer(model, Sites(), 64) as replayer:
        for _ in range(2):
            replayer.replay(data(model, many, batch_size=5000), "probe")
            values.append(taken(replayer)["probe", "fc"].values)
    np.testing.assert_array_equal(*values)
    assert values[0].shape[1] < 5000


def test_inputs_that_do_not_fit_are_refused_and_the_hooks_go(model):
    with Replayer(model, Sites(), math.inf) as replayer:
        with pytest.raises(ModelError):
            replayer.replay(data(model, torch.ones(4, 7)), "probe")
        assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(RecordingError, match="no module of Net matches"):
        Replayer(model, Sites("nothing"), math.inf)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(3, 4), nn.Linear(4, 2)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.out(torch.relu(self.fc(x)))


def test_a_look_shows_what_reads_a_site_and_leaves_no_trace(x):
    model = Functional()
    model.fc.requires_grad_(False)
    with Replayer(model, Sites(), math.inf) as replayer:
        replayer.look(data(model, x))
        assert (model.calls, taken(replayer)) == (0, {})
        replayer.replay(data(model, x), "probe")
        sites = {site["name"]: site for site in replayer.state()["sites"]}
        seen = taken(replayer)
    assert (sites["fc"]["feeds"], sites["fc"]["unseen"]) == (("ReLU",), "")
    assert sites["out"]["others"] == ("(output)",)
    assert seen["probe", "fc"].count.tolist() == [10] * 4
    assert not model.fc.weight.requires_grad
    assert model.out.weight.grad is None


def test_without_a_look_nothing_is_claimed(x):
    model = Functional()
    with Replayer(model, Sites(), math.inf) as replayer:
        replayer.look(data(model, torch.ones(4, 7)))  # It does not fit, which the replay is to say.
        replayer.replay(data(model, x), "probe")
        sites = replayer.state()["sites"]
    assert all(site["unseen"].startswith("no gradients were computed through it") for site in sites)
