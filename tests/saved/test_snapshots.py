"""Saved models get into a model one after the other, and say what they leave as it was."""

import pytest
import torch

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.load import Wanted
from icshift.saved.snapshots import same_draws, snapshots
from tests.saved import zoo


@pytest.fixture
def two(tmp_path):
    """The whole state of a model after epoch 1, and after epoch 2 one without its last layer."""
    whole = zoo.trained()[0].state_dict()
    part = {name: torch.zeros_like(value) for name, value in whole.items() if not name.startswith("fc2")}
    torch.save({"epoch": 1, "step": 10, "model": whole}, tmp_path / "a.pt")
    torch.save({"epoch": 2, "step": 20, "model": part}, tmp_path / "b.pt")
    return find([tmp_path]), whole


def test_each_has_the_name_and_step_of_its_file(two):
    found, _ = two
    taken = snapshots(found, zoo.Digits(), Wanted(partial=True))
    assert [(one.name, one.step) for one in taken] == [("epoch 1", 10), ("epoch 2", 20)]


def test_putting_one_says_what_stays_at_its_initialisation(two):
    (first, second), whole = two[0], two[1]
    model = zoo.Digits()
    initial = {name: value.clone() for name, value in model.state_dict().items()}
    taken = snapshots([first, second], model, Wanted(partial=True))
    assert taken[0].put(model) == ""
    assert torch.equal(model.fc2.weight, whole["fc2.weight"])
    said = taken[1].put(model)
    assert said == "2 of 11 tensors stayed at their initialisation: fc2.weight, fc2.bias"
    # As initialised, and not as the file before had it.
    assert torch.equal(model.fc2.weight, initial["fc2.weight"])
    assert not model.fc1.weight.any()


def test_what_does_not_fit_is_refused_unless_partial(two):
    model = zoo.Digits()
    whole, part = snapshots(two[0], model, Wanted())
    assert whole.put(model) == ""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ModelError, match=r"b\.pt: does not fit: .*2 missing"):
        part.put(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_initialisations_are_the_same_every_time_and_draw_nothing():
    state = torch.get_rng_state()
    with same_draws():
        first = torch.rand(4)
    with same_draws():
        second = torch.rand(4)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
