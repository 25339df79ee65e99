"""What a saved model holds, and the model itself where the file says what it is."""

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.load import Wanted, build, load
from icshift.saved.order import SavedModel
from tests.saved import zoo


@pytest.fixture
def both(tmp_path):
    """A file with two state dicts and its progress."""
    generator, critic = {"weight": torch.ones(2)}, {"weight": torch.zeros(2)}
    torch.save({"generator": generator, "critic": critic, "epoch": 4, "step": 50}, tmp_path / "gan.pt")
    return find([tmp_path / "gan.pt"])[0]


def test_a_key_says_which_part_is_meant(both):
    loaded = load(both, Wanted(key="critic"))
    assert (loaded.key, loaded.module, loaded.epoch, loaded.step) == ("critic", None, 4, 50)
    assert torch.equal(loaded.state["weight"], torch.zeros(2))


def test_without_a_key_nothing_is_guessed_and_the_file_is_named(both):
    with pytest.raises(ModelError, match=r"gan\.pt: holds 2 state dicts \(generator, critic\)"):
        load(both)
    with pytest.raises(ModelError, match=r"gan\.pt: has no state dict under 'actor'; it has generator, critic"):
        load(both, Wanted(key="actor"))


def test_wrappers_are_out_of_the_names(tmp_path):
    torch.save(nn.DataParallel(zoo.Digits()).state_dict(), tmp_path / "a.pt")
    assert list(load(*find([tmp_path / "a.pt"])).state) == list(zoo.Digits().state_dict())


def test_a_whole_module_is_built_with_the_flag_alone(tmp_path):
    torch.save(zoo.trained()[0], tmp_path / "whole.pt")
    (saved,) = find([tmp_path / "whole.pt"])
    with pytest.raises(ModelError, match="pass --unsafe-pickle"):
        build(saved)
    built = build(saved, Wanted(unsafe=True))
    assert type(built) is zoo.Digits
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), zoo.trained()[0].parameters(), strict=True))


def test_weights_alone_are_no_model(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="say which with --model"):
        build(*find([tmp_path / "a.pt"]))


def test_a_format_that_nobody_reads_is_named(tmp_path):
    with pytest.raises(ModelError, match="has the format 'clay', which icshift does not read"):
        load(SavedModel(tmp_path, "clay", "a"))
