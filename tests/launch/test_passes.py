"""Passes over data told from the iterators of DataLoaders, whatever a training does with them."""

import gc
import itertools

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Subset, SubsetRandomSampler, TensorDataset
from torch.utils.data.dataloader import (
    _BaseDataLoaderIter,
    _MultiProcessingDataLoaderIter,
    _SingleProcessDataLoaderIter,
)

from icshift.launch.passes import Passes
from icshift.model.unheard import unheard


class Training:
    """Counts steps; `ends` are the steps after which the training went on with a new pass."""

    def __init__(self):
        self.steps, self.training, self.ends, self.due = 0, True, [], False
        self.passes = Passes(self.over_since, self.goes_on, steps=lambda: self.steps, training=lambda: self.training)

    def over_since(self):
        self.due = True

    def goes_on(self):
        self.due = False

    def step(self):
        if self.due:
            self.ends.append(self.steps)
            self.due = False
        self.steps += 1

    def over(self, batches):
        for _ in batches:
            self.step()

    def evaluate(self, batches):
        """As many write it: without gradients within the loop alone."""
        self.training = False
        for _ in batches:
            with torch.no_grad():
                pass
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
    for _ in range(3):
        training.over(batches)
    assert training.ends == [4, 8]


def test_an_evaluation_belongs_to_the_epoch_before(training):
    train, test = loader(), loader(6)
    training.evaluate(test)
    for _ in range(3):
        training.over(train)
        training.evaluate(train)
        training.evaluate(test)
    assert training.ends == [4, 8]


def test_evaluations_in_the_middle_of_a_pass_end_nothing(training):
    train, test = loader(), loader(6)
    for _ in range(3):
        for place, _ in enumerate(train):
            training.step()
            if place % 2:
                training.evaluate(itertools.islice(test, 2))
    assert training.ends == [4, 8]


class Endless(torch.utils.data.Sampler):
    def __iter__(self):
        return itertools.repeat(0)


@pytest.mark.parametrize(("when", "training_at_first"), [("before", False), ("after", False), ("after", True)])
def test_evaluations_of_the_training_data_in_the_middle_of_a_pass_end_nothing(training, when, training_at_first):
    """An endless pass and loaders that are made anew (makemore), a mode that comes with the first batch (ignite)."""
    data = TensorDataset(torch.zeros(8))

    def evaluate():
        training.training = training_at_first
        for _ in DataLoader(data, batch_size=2, shuffle=True):
            training.training = False
        training.training = True

    for place, _ in zip(range(12), DataLoader(data, batch_size=2, sampler=Endless()), strict=False):
        if when == "before" and place % 4 == 3:
            evaluate()
        training.step()
        if when == "after" and place % 4 == 3:
            evaluate()
    assert training.ends == []


@pytest.mark.parametrize("begins_in", ["training mode", "eval mode"])
def test_a_pass_left_before_its_end_is_over_also_where_the_training_data_are_evaluated_after_it(training, begins_in):
    """Some put the model into training mode within the loop."""
    batches = loader()
    for _ in range(3):
        training.over(itertools.islice(batches, 3))
        training.evaluate(itertools.islice(batches, 3))
        training.training = begins_in == "training mode"
        one = iter(batches)
        training.training = True
        training.over(itertools.islice(one, 3))
        del one
    assert training.ends == [3, 6, 9, 12, 15]


def test_batches_drawn_ahead_belong_to_the_pass_that_they_are_of(training):
    def ahead(batches):
        iterator = iter(batches)
        current = next(iterator)
        for following in iterator:
            yield current
            current = following
        yield current

    train, test = loader(), loader(6)
    for _ in range(3):
        training.over(ahead(train))
        training.evaluate(ahead(test))
    assert training.ends == [4, 8]


def test_a_pass_left_before_its_end_is_over_when_the_next_begins(training):
    batches = loader()
    for _ in range(3):
        training.over(itertools.islice(batches, 3))
    assert training.ends == [3, 6]


def test_a_pass_left_before_its_end_is_over_also_where_its_loader_is_made_anew(training):
    data = TensorDataset(torch.zeros(8))
    for _ in range(3):
        training.over(itertools.islice(DataLoader(data, batch_size=2, shuffle=True), 3))
    assert training.ends == [3, 6]


@pytest.mark.parametrize("examples", [8, 2])
def test_single_batches_are_no_passes(training, examples):
    batches = loader(examples)
    for _ in range(5):
        training.over([next(iter(batches))])
    assert training.ends == []


def test_a_loader_of_one_batch_tells_of_no_epochs(training):
    batches = loader(2)
    for _ in range(5):
        training.over(batches)
    assert training.ends == []


def test_a_pass_without_a_step_is_none(training):
    list(loader())
    training.over(loader())
    assert training.ends == []


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1, "persistent_workers": True}])
def test_iterators_that_no_loader_was_asked_for_are_followed_too(training, workers):
    """So fastai makes them, of a loader of its own kind."""
    batches = loader(**workers)
    kind = _MultiProcessingDataLoaderIter if workers else _SingleProcessDataLoaderIter
    for _ in range(3):
        training.over(kind(batches))
    assert training.ends == [4, 8]


def test_workers_that_persist_give_one_iterator_for_all_passes(training):
    train = loader(num_workers=1, persistent_workers=True)
    for _ in range(3):
        training.over(train)
        training.evaluate(loader(6))
    assert training.ends == [4, 8]


def test_what_icshift_runs_itself_is_no_pass(training):
    batches = loader()
    training.over(batches)
    with unheard():
        list(batches)
    training.over(batches)
    assert training.ends == [4]


def test_a_source_that_cannot_be_followed_disturbs_nothing(training):
    class Strange(DataLoader):
        __hash__ = None

    class Endless(TensorDataset):
        def __len__(self):
            if training.steps:
                raise TypeError("who knows")
            return 8

    strange = Strange(Endless(torch.zeros(8)), sampler=range(8), batch_size=2)
    for _ in range(2):
        training.over(strange)
    assert training.ends == [4]


def test_afterwards_iterators_are_what_they_were():
    names = ("__init__", "_reset", "__next__")
    before = [vars(_BaseDataLoaderIter)[name] for name in names]
    training = Training()
    with training.passes.listening():
        assert not any(vars(_BaseDataLoaderIter)[name] is plain for name, plain in zip(names, before, strict=True))
    with pytest.raises(ZeroDivisionError), training.passes.listening():
        raise ZeroDivisionError
    assert [vars(_BaseDataLoaderIter)[name] for name in names] == before
    training.over(loader())
    training.over(loader())
    assert training.ends == []


def evaluated(training, batches):
    """The sources that an evaluation of batches was found to draw from, one each."""
    training.training, found = False, []
    for batch in batches:
        found.append(training.passes.evaluated_source((batch, {})))
    training.training = True
    return found


def test_what_is_evaluated_is_told_by_its_data(training):
    train, test = loader(), loader(6)
    training.over(train)
    (first,), (second,) = set(evaluated(training, train)), set(evaluated(training, test))
    assert None not in (first, second)
    assert [training.passes.trains_on(source) for source in (first, second)] == [True, False]
    assert set(evaluated(training, DataLoader(test.dataset, batch_size=3))) == {second}


def test_what_is_evaluated_without_a_loader_has_no_source(training):
    train, apart = loader(), ((torch.zeros(100),), {})
    training.over(train)
    training.training = False
    assert training.passes.evaluated_source(apart) is None
    training.training = True
    for batch in train:
        training.training = False
        assert training.passes.evaluated_source(apart) is None
        training.training = True
        training.step()
        training.training = False
        assert training.passes.evaluated_source((batch, {})) is None
        training.training = True


def test_a_teacher_is_evaluated_on_what_its_student_is_trained_on(training):
    train, found = loader(), []
    training.over(train)
    for batch in train:
        found.append(training.passes.evaluated_source((batch, {})))
        training.step()
    assert None not in found
    assert len(set(found)) == 1
    assert training.passes.trains_on(found[0])


def test_the_mode_may_change_after_the_first_batch_was_drawn(training):
    """So ignite does."""
    train, found = loader(), []
    training.over(train)
    for batch in train:
        training.training = False
        found.append(training.passes.evaluated_source((batch, {})))
    assert None not in found
    assert len(set(found)) == 1


def test_parts_of_one_data_set_are_sources_of_their_own(training):
    data = TensorDataset(torch.zeros(8))
    by_sampler = [DataLoader(data, 2, sampler=SubsetRandomSampler(part)) for part in ([0, 1], [2, 3])]
    by_subset = [DataLoader(Subset(data, part), 2) for part in ([0, 1], [2, 3])]
    found = [set(evaluated(training, part)) for part in (*by_sampler, *by_subset)]
    assert all(len(sources) == 1 and None not in sources for sources in found)
    assert len(set.union(*found)) == 4


def test_data_that_are_made_anew_are_the_same_source_once_the_old_are_gone(training):
    found = set()
    for _ in range(4):
        found |= set(evaluated(training, loader(6)))
        gc.collect()
    assert len(found) == 1
    assert None not in found


def test_streams_are_sources_too(training):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(4))

    batches = DataLoader(Stream(), 2)
    assert len(set(evaluated(training, batches)) | set(evaluated(training, batches))) == 1
