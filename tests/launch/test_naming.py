"""What running code calls a model."""

import weakref

import torch
from torch import nn

from icshift.launch.naming import name_of


class HTTPServerNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)


class Trainer:
    """As skorch's: its `_modules` is a list."""

    def __init__(self, model):
        self.network = model
        self._hidden = model
        self._modules = ["network"]

    def name(self):
        return name_of(self.network)


class Agent(nn.Module):
    """Asks within its `__init__`, as one does that makes its optimizer there."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 2)
        self.called = name_of(self)


class Owner:
    def __init__(self):
        self.player = Agent()


def test_a_model_is_called_as_its_variable():
    classifier = nn.Linear(2, 2)
    assert name_of(classifier) == "classifier"
    assert name_of(nn.DataParallel(classifier).module) == "classifier"


def test_a_variable_that_holds_a_wrapper_names_what_is_in_it():
    models = [nn.Linear(2, 2)]
    parallel = nn.DataParallel(models[0])
    assert name_of(models[0]) == "parallel"
    assert parallel.module is models[0]


def test_an_attribute_of_self_is_a_name_too_but_not_a_private_one():
    name = Trainer(nn.Linear(2, 2)).name()
    assert name == "network"


def test_a_model_without_a_variable_is_called_as_its_class():
    names = name_of(HTTPServerNet()), name_of(nn.BatchNorm1d(2))
    assert names == ("httpserver_net", "batch_norm1d")


def test_one_that_is_being_made_is_called_as_it_will_be():
    robot = Agent()
    moved = Agent().to(torch.float64)
    assert (robot.called, moved.called) == ("robot", "moved")
    assert Owner().player.called == "player"
    assert [Agent()][0].called == "agent"


class Unmade(nn.Module):
    def __init__(self):
        """Leaves its base out: it has no parts."""


class Hostile:
    """Raises whatever it is asked."""

    def __init__(self, model):
        object.__setattr__(self, "held", model)

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def _refuse(self, *_):
        raise RuntimeError

    __eq__ = __len__ = __iter__ = __bool__ = __hash__ = _refuse


class Slotted:
    __slots__ = ("network",)

    def __init__(self, model):
        self.network = model

    def name(self):
        return name_of(self.network)


def test_strange_values_and_owners_hide_no_name_that_comes_after():
    def within(self):  # noqa: ARG001
        first, second = Hostile(None), Unmade()  # noqa: F841
        wanted = nn.Linear(2, 2)
        return name_of(wanted)

    for owner in (Hostile(None), Unmade(), Slotted(None), 3):
        assert within(owner) == "wanted"
    assert Slotted(nn.Linear(2, 2)).name() == "linear"


class Held:
    """Something that may be let go of."""


def test_what_a_script_lets_go_of_goes_also_where_its_variables_were_looked_at():
    def train():
        held = Held()
        there = weakref.ref(held)
        network = nn.Linear(1, 1)
        assert name_of(network) == "network"
        del held
        return there()

    assert train() is None


def test_variables_that_somebody_took_as_his_own_are_left_to_him():
    def train():
        network, rate = nn.Linear(1, 1), 0.1
        mine = locals()
        assert name_of(network) == "network"
        assert rate
        return mine

    assert {"network", "rate"} <= train().keys()
