"""Which models of a trainer's directory become windows, and what is said of the others."""

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.load import Wanted
from icshift.saved.trajectory import trajectory

WANTED = Wanted()


def net(value, wide=3):
    """A small model whose weights are all one number."""
    model = nn.Sequential(nn.Linear(2, wide), nn.BatchNorm1d(wide), nn.Linear(wide, 1))
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def state(value, **options):
    return net(value, **options).state_dict()


@pytest.fixture
def save(tmp_path):
    """Saves what is given by name; gives labels and notes of the directory."""

    def run(wanted=WANTED, named=False, **files):
        for name, saved in files.items():
            torch.save(saved, tmp_path / f"{name}.pt")
        paths = [tmp_path / f"{name}.pt" for name in files] if named else [tmp_path]
        found = trajectory(find(paths), net(0), wanted)
        return [model.label for model in found.models], found.notes

    return run


def test_a_copy_shares_the_window_of_what_it_is_a_copy_of(save):
    labels, notes = save(e1=state(1), e2=state(2), e10=state(3), last=state(3), best=state(2))
    assert labels == ["e1.pt", "e2.pt", "e10.pt"]
    assert notes == ["one window for a model and its copy with the same weights: best.pt of e2.pt, last.pt of e10.pt"]


def test_copies_are_known_whatever_their_prefix(save):
    wrapped = {f"module.{name}": value for name, value in state(2).items()}
    assert save(e1=state(1), e2=state(2), last={"state_dict": wrapped})[0] == ["e1.pt", "e2.pt"]


def test_a_model_that_stood_still_is_no_copy(save):
    assert save(e1=state(1), e2=state(1)) == (["e1.pt", "e2.pt"], [])


def test_epochs_that_stood_still_are_two_windows(save):
    stored = {"a": {"epoch": 0, "model": state(1)}, "b": {"epoch": 1, "model": state(1)}}
    assert save(**stored) == (["epoch 0", "epoch 1"], [])


def test_two_of_one_step_in_a_directory_are_one_window(save):
    files = {"epoch1": {"epoch": 1, "step": 8, "model": state(1)}, "last": {"epoch": 1, "step": 8, "model": state(2)}}
    files["epoch0"] = {"epoch": 0, "step": 4, "model": state(3)}
    labels, notes = save(**files)
    assert labels == ["epoch 0", "epoch 1"]
    assert notes == ["left aside, since of the same step with other weights: last.pt as epoch1.pt"]
    assert len(save(named=True, **files)[0]) == 3


def test_what_has_no_place_is_told(save):
    labels, notes = save(e1=state(1), e2=state(2), best=state(3), final=state(4))
    assert labels == ["e1.pt", "e2.pt", "final.pt"]
    (note,) = notes
    assert note == "left aside, since nothing tells when the training made it: best.pt; name it alone to measure it"


def test_an_order_that_nothing_tells_is_told(save):
    files = {"b": state(1), "a": state(2)}
    asked = "nothing tells in which order the training made these models: they are in that "
    assert save(**files) == (["a.pt", "b.pt"], [asked + "of their names"])
    assert save(named=True, **files) == (["b.pt", "a.pt"], [asked + "in which they were given"])


def test_parts_of_other_models_and_what_is_no_model_are_left_aside_in_a_directory(save):
    critic = nn.Sequential(nn.Linear(1, 5), nn.Linear(5, 2)).state_dict()
    files = {"netG_0": state(1), "netG_1": state(2), "netD_0": critic, "criterion": {}, "data": {"x": [1]}}
    labels, notes = save(**files)
    assert labels == ["netG_0.pt", "netG_1.pt"]
    assert notes == [
        "left aside, since no model is read from it: criterion.pt, data.pt (holds no state dict: empty; save"
        " model.state_dict())",
        "left aside, since most of the model is not in it: netD_0.pt",
    ]
    with pytest.raises(ModelError, match=r"netD_0\.pt: does not fit"):
        save(named=True, **files)


def test_one_that_nearly_fits_is_a_mistake_to_be_told(save):
    less = {name: value for name, value in state(2).items() if name != "2.bias"}
    with pytest.raises(ModelError, match=r"e2\.pt: does not fit: .*1 missing \(2\.bias\)"):
        save(e1=state(1), e2=less)
    labels, notes = save(Wanted(partial=True), e1=state(1), e2=less)
    assert labels == ["e1.pt", "e2.pt"]
    assert notes == ["e2.pt: 1 of 9 tensors stayed at their initialisation: 2.bias"]


def test_where_nothing_fits_it_is_refused(save):
    with pytest.raises(ModelError, match=r"e1\.pt: does not fit"):
        save(args={}, e1=state(1, wide=7), e2=state(2, wide=7))


def test_state_dicts_beside_the_one_that_is_taken_are_named(save):
    files = {f"e{epoch}": {"state_dict": state(epoch), "state_dict_ema": state(9 - epoch)} for epoch in range(3)}
    labels, notes = save(**files)
    assert labels == ["e0.pt", "e1.pt", "e2.pt"]
    assert notes == ["taken: state_dict; left aside: state_dict_ema, which --key takes"]
    assert save(Wanted(key="state_dict_ema"), **files) == (labels, [])


def test_what_the_model_has_no_place_for_is_named(save):
    more = {f"net.{name}": value for name, value in state(1).items()} | {"criterion.weight": torch.ones(2)}
    labels, notes = save(e1=more, e2={**more, "net.2.bias": torch.ones(1) * 7})
    assert labels == ["e1.pt", "e2.pt"]
    assert notes == ["left aside, since the model has no such: 1 tensor of the files (criterion.weight)"]


def test_two_models_of_one_class_are_no_trajectory(save):
    files = {f"{epoch}_net_{part}": state(epoch + (part == "G_B")) for epoch in (5, 10) for part in ("G_A", "G_B")}
    with pytest.raises(ModelError, match=r"2 series of models \(\*_net_G_A\.pt, \*_net_G_B\.pt\) .* as \*_net_G_A\.pt"):
        save(**files)
    one = {name: saved for name, saved in files.items() if "G_A" in name}
    assert save(named=True, **one) == (["5_net_G_A.pt", "10_net_G_A.pt"], [])


def test_averages_in_files_of_their_own_are_left_aside(save):
    files = {f"{name}{step:03d}": state(step + len(name)) for step in (10, 20) for name in ("model", "ema_0.9999_")}
    labels, notes = save(**files)
    assert labels == ["model010.pt", "model020.pt"]
    assert notes == ["left aside, since averages of the weights by their names: ema_*_*.pt"]


def test_nothing_is_put_into_the_model(tmp_path):
    torch.save(state(1), tmp_path / "a.pt")
    model, told = net(0), []
    trajectory(find([tmp_path]), model, Wanted(), lambda: told.append(1))
    assert told == [1]
    assert not model[0].weight.any()
