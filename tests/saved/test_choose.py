"""Which of what was saved is taken for the model."""

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.choose import Unread, choose_part, other_parts
from icshift.saved.find import find
from icshift.saved.fit import fit
from icshift.saved.load import Wanted, load
from tests.saved import zoo

STATE = {"a.weight": torch.ones(2)}
OTHER = {"a.weight": torch.zeros(2)}
OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("saved", "key"),
    [
        (STATE, ""),
        ({"state_dict": STATE}, "state_dict"),
        ({"epoch": 1, "model_state_dict": STATE, "optimizer_state_dict": OPTIMIZER}, "model_state_dict"),
        ({"net": STATE, "acc": 90.1, "epoch": 3}, "net"),
        ({"whatever": STATE, "rng": {"cpu": torch.zeros(3)}, "optim": {"0": torch.zeros(3)}}, "whatever"),
        ({"model": {"state_dict": STATE}, "args": {"x": torch.zeros(1)}}, "model.state_dict"),
        ({"ema": OTHER, "model": STATE}, "model"),
        ({"state_dict_ema": OTHER, "state_dict": STATE}, "state_dict"),
        ({"teacher": OTHER, "student": STATE}, "student"),
        ({"model_ema": STATE, "epoch": 3}, "model_ema"),
        ({"loss": torch.tensor(1.0), "model": STATE}, "model"),
        ({"model": STATE, "generator": OTHER}, "model"),
        ({"state_dict": STATE, "model": OTHER}, "state_dict"),
        ({**STATE, "a._extra_state": {"scale": 1}}, ""),
        ([STATE, 3], "0"),
        ((3, {"x": 1}, STATE, OPTIMIZER), "2"),
        ({"ckpt": [STATE, OPTIMIZER]}, "ckpt.0"),
    ],
)
def test_the_rule(saved, key):
    used, part = choose_part(saved)
    assert used == key
    assert part["a.weight"].sum() == 2


def test_one_of_several_can_be_asked_for(tmp_path):
    path = tmp_path / "gan.pt"
    torch.save({"generator": STATE, "discriminator": OTHER}, path)
    (found,) = find([path])
    with pytest.raises(ModelError, match=r"2 state dicts \(generator, discriminator\)"):
        load(found)
    assert load(found, Wanted(key="discriminator")).state["a.weight"].sum() == 0
    with pytest.raises(ModelError, match=r"no state dict under 'critic'; it has generator, discriminator"):
        load(found, Wanted(key="critic"))


def test_a_part_of_a_state_dict_can_be_asked_for():
    both = {"state_dict": {"generator.a.weight": STATE["a.weight"], "critic.a.weight": OTHER["a.weight"]}}
    for key in ("generator", "state_dict.generator"):
        used, part = choose_part(both, key)
        assert (used, list(part)) == (key, ["a.weight"])
        assert part["a.weight"].sum() == 2
    with pytest.raises(ModelError, match=r"no state dict under 'gen'; it has state_dict"):
        choose_part(both, "gen")
    with pytest.raises(ModelError, match="it is one itself; leave --key out"):
        choose_part(STATE, "model")


def test_the_others_are_named():
    saved = {"state_dict": STATE, "state_dict_ema": OTHER, "optimizer": {"0": torch.ones(1)}, "epoch": 3}
    assert other_parts(saved, "state_dict") == ("state_dict_ema",)
    assert other_parts(saved, "state_dict_ema") == ("state_dict",)
    assert other_parts(STATE, "") == ()


def test_what_cannot_be_read_is_no_reason_to_take_an_average():
    refused = Unread("is a pickle that runs code")
    assert choose_part({"state_dict": STATE, "model": refused})[0] == "state_dict"
    for saved in ({"model": refused, "ema": STATE}, {"model": refused}, refused):
        with pytest.raises(ModelError, match="runs code"):
            choose_part(saved)
    with pytest.raises(ModelError, match="runs code"):
        choose_part({"model": refused, "ema": STATE}, "model")
    assert choose_part({"model": refused, "ema": STATE}, "ema")[0] == "ema"


@pytest.mark.parametrize(
    "saved", [OPTIMIZER, {}, [1, 2], torch.ones(3), {"epoch": 3}, {"a": {"b": {"c": {"d": STATE}}}}]
)
def test_without_a_state_dict_it_says_what_is_there(tmp_path, saved):
    torch.save(saved, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="holds no state dict: "):
        load(*find([tmp_path / "a.pt"]))


def wrapped(prefix):
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "rename",
    [
        wrapped("module."),
        wrapped("_orig_mod."),
        wrapped("module._orig_mod."),
        wrapped("_orig_mod.module."),
        wrapped("_fsdp_wrapped_module."),
        wrapped("model."),
        wrapped("net.backbone."),
        wrapped("module.model."),
        lambda state: {name.replace("fc1.", "fc1._orig_mod."): tensor for name, tensor in state.items()},
        lambda state: {
            name.replace("fc1.", "fc1._checkpoint_wrapped_module."): tensor for name, tensor in state.items()
        },
    ],
)
def test_prefixes_are_taken_off(tmp_path, rename):
    original = zoo.trained()[0].state_dict()
    torch.save(rename(original), tmp_path / "a.pt")
    model = zoo.Digits()
    assert fit(zoo.Digits(), rename(original)).loaded == len(original)
    fitted = fit(model, load(*find([tmp_path / "a.pt"])).state)
    assert fitted.loaded == len(original)
    assert all(torch.equal(tensor, original[name]) for name, tensor in model.state_dict().items())


class Outer(nn.Module):
    """Has a `module` of its own, and more names in front than what was saved."""

    def __init__(self):
        super().__init__()
        self.module = zoo.Digits()


@pytest.mark.parametrize("rename", [wrapped(""), wrapped("module."), wrapped("module.module.")])
def test_a_model_with_more_names_in_front_takes_them_too(rename):
    original = zoo.trained()[0].state_dict()
    model = Outer()
    fit(model, rename(original))
    assert all(torch.equal(tensor, original[name]) for name, tensor in model.module.state_dict().items())


def test_a_wrapped_model_is_filled_too():
    original = zoo.trained()[0].state_dict()
    model = nn.DataParallel(zoo.Digits())
    model.module.fc1 = torch.compile(model.module.fc1)
    fit(model, original)
    back = {name.replace("_orig_mod.", ""): tensor for name, tensor in model.module.state_dict().items()}
    assert all(torch.equal(back[name], tensor) for name, tensor in original.items())


def test_one_weight_under_two_names_of_one_meaning_is_refused(tmp_path):
    torch.save({"a.weight": torch.ones(1), "a._orig_mod.weight": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(ModelError, match="twice"):
        load(*find([tmp_path / "a.pt"]))
