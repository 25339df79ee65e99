"""The hooks of one model: on, kept up while it changes, off."""

import copy
import multiprocessing

import pytest
import torch
from torch import nn

from icshift.errors import RecordingError
from icshift.hooks.attachment import Attachment, Listener
from icshift.model.sites import Sites, choose_sites
from icshift.model.unheard import unheard

X = torch.ones(2, 3)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.fc(x))


class Log:
    """A listener that writes down what it is called with, and an attachment of it to a model."""

    def __init__(self, model, choose=None, mask=None):
        self.events = []
        self.model = model

        def note(kind):
            return lambda *seen: self.events.append((kind, *seen))

        listener = Listener(note("tensor"), note("none"), note("failure"), note("entry"), note("exit"), mask)
        choose = choose or (lambda model, **options: choose_sites(model, sites=Sites(), **options))
        self.attachment = Attachment(model, choose, listener)

    def names(self):
        """The modules whose tensors were seen since the last time."""
        seen = [event[1] for event in self.events if event[0] == "tensor"]
        self.events.clear()
        return seen


@pytest.fixture(autouse=True)
def nothing_is_compiled():
    """Where anything is, whatever test did it, hooks stay when they are detached."""
    torch.compiler.reset()


@pytest.fixture
def attached():
    """Makes logs of models; at the end of the test all of their hooks are taken off."""
    logs = []

    def attach(model, **options):
        logs.append(Log(model, **options))
        logs[-1].attachment.attach()
        return logs[-1]

    yield attach
    for log in logs:
        log.attachment.close()


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_a_forward_is_entered_shows_its_tensors_and_is_left(attached):
    log = attached(model := Net())
    output = model(X)
    kinds = [event[0] for event in log.events]
    assert kinds == ["entry", "tensor", "tensor", "exit"]
    call, mask = log.events[0][1:]
    assert (call.part, call.inputs, call.gradients, mask) == (model, ((X,), {}), True, None)
    assert log.events[1][1:5] == ("fc", model.fc, True, "")
    assert log.events[2][5] is output


def test_every_tensor_of_an_output_is_seen_and_none_is_said(attached):
    class Odd(nn.Module):
        def forward(self, x):
            return (x, [x + 1]) if x.numel() > 2 else "nothing"

    log = attached(model := nn.Sequential(Odd()), choose=lambda model, **_: {"0": model[0]})
    model(X)
    assert [event[4] for event in log.events if event[0] == "tensor"] == ["[0]", "[1][0]"]
    log.events.clear()
    model(torch.ones(1))
    assert [event for event in log.events if event[0] == "none"] == [("none", "0", "nothing")]


def test_detached_and_unheard_nothing_is_called(attached):
    log = attached(model := Net())
    with unheard():
        model(X)
    log.attachment.detach()
    assert hooks(model) == 0
    model(X)
    assert log.events == []
    log.attachment.attach()
    model(X)
    assert log.names() == ["fc", "out"]
    log.attachment.close()
    assert hooks(model) == 0


def test_a_forward_that_raises_is_left(attached):
    log = attached(model := Net())
    with pytest.raises(RuntimeError):
        model(X[:, :2])
    assert [event[0] for event in log.events] == ["entry", "exit"]


def test_modules_that_come_and_go_are_followed(attached):
    log = attached(model := Net())
    assert not log.attachment.refresh()
    old = model.out
    model.out = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    assert log.attachment.refresh()
    assert not log.attachment.refresh()
    assert list(log.attachment.watched) == ["fc", "out.0", "out.1"]
    assert hooks(old) == 0
    assert log.attachment.parameters == {id(parameter) for parameter in model.parameters()}
    model(X)
    assert log.names() == ["fc", "out.0", "out.1"]


def test_a_choice_that_fails_later_leaves_what_is_there_and_says_so(attached):
    def choose(model, least=1):
        if not least:
            raise RecordingError("no idea")
        return {"fc": model.fc, "out": model.out}

    log = attached(model := Net(), choose=choose)
    model.out = nn.Linear(4, 2)
    with pytest.warns(RuntimeWarning, match="icshift watches no module that came to Net: no idea"):
        assert log.attachment.refresh()
    model(X)
    assert log.names() == ["fc"]


def test_a_mask_that_raises_does_not_reach_the_forward(attached):
    def mask(_):
        raise KeyError("no such column")

    log = attached(model := Net(), mask=mask)
    model(X)
    [entry] = [event for event in log.events if event[0] == "entry"]
    assert isinstance(entry[2], KeyError)


def test_the_mask_gets_the_arguments_of_the_model(attached):
    log = attached(model := Net(), mask=lambda x: x[:, 0] > 0)
    model(x=X)
    [entry] = [event for event in log.events if event[0] == "entry"]
    assert entry[2].tolist() == [True, True]


def test_copies_of_the_model_are_not_seen(attached):
    log = attached(model := Net())
    copy.deepcopy(model)(X)
    assert log.events == []


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork")
def test_a_forked_child_has_no_hooks(attached):
    log = attached(model := Net())
    context = multiprocessing.get_context("fork")
    left = context.SimpleQueue()
    child = context.Process(target=lambda: left.put((hooks(model), log.attachment.attached)))
    child.start()
    assert left.get() == (0, False)
    child.join()
    assert hooks(model) > 0
    model(X)
    assert log.names() == ["fc", "out"]
