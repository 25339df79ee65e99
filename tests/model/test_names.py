"""Modules under the names of their author, through every wrapper."""

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from icshift.model.names import ROOT, callable_parts, every_name, modules, takes_hooks, unwrapped


class Shared(nn.Module):
    """One layer under two names, and a part that holds its owner."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleDict({"first": nn.Linear(4, 4)})
        self.decoder = self.encoder["first"]


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        checkpoint_wrapper,
        lambda m: torch.compile(m, backend="eager"),
        lambda m: nn.DataParallel(checkpoint_wrapper(m)),
    ],
    ids=["parallel", "checkpoint", "compile", "two"],
)
def test_wrappers_do_not_change_names(wrap):
    plain = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
    wrapped = wrap(plain)
    assert wrapped is not plain
    assert unwrapped(wrapped) is plain
    assert modules(wrapped) == modules(plain)
    plain[1] = wrap(plain[1])
    assert list(modules(plain)) == [ROOT, "0", "1", "1.0"]


def test_what_only_looks_like_a_wrapper_is_kept():
    class DataParallel(nn.Module):
        """A user's class of that name, with nothing in it."""

    model = DataParallel()
    assert unwrapped(model) is model


def test_a_module_of_two_names_is_there_once_under_the_first():
    model = Shared()
    assert list(modules(model)) == [ROOT, "encoder", "encoder.first"]
    assert [name for name, module in every_name(model) if module is model.decoder] == ["encoder.first", "decoder"]


def test_names_of_a_module_are_bounded():
    shared = nn.ReLU()
    model = nn.Sequential(*[shared] * 100)
    assert sum(module is shared for _, module in every_name(model, most=7)) == 7


def test_a_circle_of_modules_ends():
    inner, outer = nn.Module(), nn.Module()
    outer.inner, inner.outer = inner, outer
    assert list(every_name(outer)) == [(ROOT, outer), ("inner", inner)]


def test_torchscript_takes_no_hooks():
    assert takes_hooks(nn.Linear(1, 1))
    assert not takes_hooks(torch.jit.trace(nn.Linear(1, 1), torch.zeros(1, 1)))


def test_parts_that_a_training_may_call_without_the_model():
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))])
    model.head = nn.Linear(2, 1)
    model.encoder = nn.DataParallel(nn.Sequential(nn.Sequential(nn.Linear(2, 2))))
    assert callable_parts(model) == [model, model.encoder.module, *model.blocks]
