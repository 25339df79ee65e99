"""The entries of a manifest about a model and its sites."""

import math

import torch
from torch import nn

import icshift
from icshift.hooks.manifest import beginning
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.watcher import Keeper, Watcher
from icshift.kernel_choice import in_use
from icshift.model.sites import Sites


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.act = nn.ReLU()
        self.unused = nn.Linear(4, 4)

    def forward(self, x):
        return self.act(self.norm(self.fc(x)))


def test_the_beginning_says_what_the_model_is():
    entries = beginning(Net(), {"samples": 64})
    assert entries["model"] == "Net"
    assert entries["parameters"] == 3 * 4 + 4 + 2 * 4 + 4 * 4 + 4
    assert entries["settings"] == {"samples": 64}
    assert entries["kernel"] == in_use()
    assert (entries["icshift"], entries["torch"]) == (icshift.__version__, torch.__version__)
    assert (entries["sites"], entries["ledger"], entries["steps"]) == ([], [], 0)


def test_parameters_that_are_not_there_yet_do_not_count():
    assert beginning(nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)), {})["parameters"] == 10


def test_what_was_seen_says_what_reads_each_site_and_what_it_reads():
    model, observer = Net(), Observer(Sites(), math.inf, SEED, lambda *_: None)

    def take(site, module, tensor, _, padding):
        observer.observe(site, module, tensor, "train", stepping=False, padding=padding)

    watcher = Watcher(model, Sites(), observer, Keeper(take, lambda _: observer.tick(0, stepping=False), print))
    assert watcher.state()["sites"] == []
    with watcher.listening():
        model(torch.randn(5, 3))
    state = watcher.state()
    sites = {site["name"]: site for site in state["sites"]}
    assert list(sites) == ["fc", "norm"]
    assert (sites["fc"]["feeds"], sites["fc"]["follows"], sites["fc"]["units"]) == ((), None, 4)
    assert (sites["norm"]["feeds"], sites["norm"]["follows"]) == (("ReLU",), "fc")
    assert {entry["module"]: entry["state"] for entry in state["ledger"]} == {
        "fc": "observed",
        "norm": "observed",
        "act": "excluded",
        "unused": "never called",
    }
