"""Epochs told from DataLoaders, whatever a training does with them."""

import itertools

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from icshift.launch.passes import Passes
from icshift.model.unheard import unheard


class Training:
    """Counts steps; `ends` are the steps after which a pass was found to be over."""

    def __init__(self):
        self.steps, self.training, self.ends = 0, True, []
        self.passes = Passes(lambda: self.ends.append(self.steps), lambda: self.steps, lambda: self.training)

    def over(self, batches):
        for _ in batches:
            self.steps += 1

    def evaluate(self, loader):
        self.training = False
        with torch.no_grad():
            list(loader)
        self.training = True


def loader(examples=8, **options):
    return DataLoader(TensorDataset(torch.zeros(examples)), batch_size=2, **options)


@pytest.fixture
def training():
    training = Training()
    with training.passes.listening():
        yield training


def test_a_new_pass_ends_the_one_before(training):
    batches = loader()
    assert not training.passes.seen
    for _ in range(3):
        training.over(batches)
    assert training.passes.seen
    assert training.ends == [4, 8]


def test_an_evaluation_belongs_to_the_epoch_before(training):
    train, test = loader(), loader(6)
    for _ in range(3):
        training.over(train)
        training.evaluate(test)
    assert training.ends == [4, 8]


def test_a_pass_left_before_its_end_is_over_when_the_next_begins(training):
    batches = loader()
    for _ in range(3):
        training.over(itertools.islice(batches, 3))
    assert training.ends == [3, 6]


def test_single_batches_are_no_passes(training):
    batches = loader()
    for _ in range(5):
        training.over([next(iter(batches))])
    assert training.ends == []


def test_a_pass_without_a_step_is_none(training):
    list(loader())
    training.over(loader())
    assert training.ends == []


def test_what_icshift_runs_itself_is_no_pass(training):
    batches = loader()
    training.over(batches)
    with unheard():
        list(batches)
    assert training.ends == []
    training.over(batches)
    assert training.ends == [4]


def test_afterwards_loaders_are_what_they_were():
    before = vars(DataLoader)["__iter__"]
    training = Training()
    with training.passes.listening():
        assert vars(DataLoader)["__iter__"] is not before
    with pytest.raises(ZeroDivisionError), training.passes.listening():
        raise ZeroDivisionError
    assert vars(DataLoader)["__iter__"] is before
    training.over(loader())
    training.over(loader())
    assert training.ends == []
