"""Hooks that listen within a block, and what is handed to the keeper."""

import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from icshift.errors import RecordingError
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.watcher import Keeper, Watcher
from icshift.model.sites import Sites
from icshift.model.unheard import unheard


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.act = nn.ReLU()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.act(self.fc(x)))


class Notes:
    """A keeper that writes down what it is given."""

    def __init__(self, model, mask=None):
        self.sites, self.padding, self.ends, self.broken = [], [], 0, []
        self.observer = Observer(Sites(), math.inf, SEED, lambda *_: None)
        self.watcher = Watcher(model, Sites(), self.observer, Keeper(self.take, self.ended, self.broken.append), mask)

    def take(self, site, module, tensor, _, padding):
        self.sites.append(site)
        self.padding.append(padding)
        self.observer.observe(site, module, tensor, "train", stepping=False)

    def ended(self, _):
        self.ends += 1
        self.observer.tick(0, stepping=False)


@pytest.fixture
def x():
    return torch.randn(5, 3)


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_it_hears_within_the_block_alone(x):
    notes = Notes(model := Net())
    model(x)
    assert not notes.sites
    with notes.watcher.listening():
        model(x)
    model(x)
    assert (notes.sites, notes.ends, hooks(model)) == (["fc", "norm"], 1, 0)
    with notes.watcher.listening():
        model(x)
    assert (notes.sites, notes.ends, hooks(model)) == (["fc", "norm"] * 2, 2, 0)


def test_after_an_error_the_hooks_are_gone(x):
    notes = Notes(model := Net())
    with pytest.raises(RuntimeError), notes.watcher.listening():
        model(x[:, :2])
    assert hooks(model) == 0
    with notes.watcher.listening():
        model(x)
    assert notes.sites[-2:] == ["fc", "norm"]


def test_what_icshift_runs_is_heard_by_the_watcher_that_asks(x):
    model = Net()
    asking, other = Notes(model), Notes(model)
    with asking.watcher.listening(), other.watcher.listening():
        with unheard():
            model(x)
            with asking.watcher.hearing():
                model(x)
        assert asking.sites == ["fc", "norm"]
        assert not other.sites
        model(x)
    assert other.sites == ["fc", "norm"]


def test_a_part_that_is_called_alone_is_a_forward_of_its_own(x):
    notes = Notes(model := Net())
    with notes.watcher.listening():
        model.fc(x)
        model.fc(x)
    assert (notes.sites, notes.ends) == (["fc", "fc"], 2)


def test_what_checkpointing_computes_again_is_not_seen_again(x):
    notes = Notes(model := Net())
    with notes.watcher.listening():
        checkpoint(model, x.requires_grad_(), use_reentrant=False).sum().backward()
    assert notes.sites == ["fc", "norm"]


def test_what_it_learns_of_neighbours_and_of_every_module(x):
    notes = Notes(model := Net())
    with notes.watcher.listening():
        model(x)
        model(x)
    state = notes.watcher.state()
    assert [(site["name"], site["feeds"]) for site in state["sites"]] == [("fc", ("ReLU",)), ("norm", ())]
    assert {entry["module"]: entry["state"] for entry in state["ledger"]} == {
        "fc": "observed",
        "act": "excluded",
        "norm": "observed",
    }


def test_the_mask_of_a_forward_reaches_the_keeper_and_one_that_fails_breaks_it(x):
    notes = Notes(model := Net(), mask=lambda x: x[:, 0] > 100)
    with notes.watcher.listening():
        model(x)
    assert [padding.kept.tolist() for padding in notes.padding] == [[0, 1, 2, 3, 4]] * 2
    broken = Notes(model, mask=lambda _: "no mask")
    with broken.watcher.listening():
        model(x)
    assert [type(error) for error in broken.broken] == [RecordingError]
    assert "the mask cannot be used" in str(broken.broken[0])


def test_stopping_takes_the_hooks_off_within_the_block(x):
    notes = Notes(model := Net())
    with notes.watcher.listening():
        notes.watcher.stop()
        model(x)
        assert not notes.watcher.attachment.attached
    assert not notes.sites
    assert hooks(model) == 0


def test_sites_that_are_not_there_are_refused():
    with pytest.raises(RecordingError, match="no module of Net matches 'nothing'"):
        Watcher(Net(), Sites("nothing"), Observer(Sites(), 1, 0, lambda *_: None), Keeper(print, print, print))
