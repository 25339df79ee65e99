"""All of a state dict gets into a model, or nothing does."""

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.saved.fit import fit, plan
from tests.saved import zoo


def state():
    return {name: tensor.clone() for name, tensor in zoo.trained()[0].state_dict().items()}


def untouched(model, attempt):
    """Runs what must fail; the message. The model is as it was, and `check` says the same."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ModelError) as raised:
        fit(model, attempt)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(ModelError, match=r"^the saved model: "):
        plan(model, attempt)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_missing_and_unexpected_names_are_told_and_nothing_is_changed():
    attempt = state()
    attempt["head.weight"] = attempt.pop("fc2.weight")
    message = untouched(zoo.Digits(), attempt)
    assert "1 missing (fc2.weight)" in message
    assert "1 unexpected (head.weight)" in message
    assert "of the 11 tensors of the model, 10 match" in message
    assert "--partial" in message


def test_long_lists_of_names_are_cut():
    attempt = state() | {f"other.{number}": torch.zeros(1) for number in range(50)}
    del attempt["fc2.bias"]
    assert "50 unexpected (other.0, other.1, other.2, other.3 and 46 more)" in untouched(zoo.Digits(), attempt)


def test_more_than_the_model_has_is_left_out_and_told():
    attempt = {f"student.{name}": value for name, value in state().items()} | {"teacher.weight": torch.ones(2)}
    model = zoo.Digits()
    fitted = fit(model, attempt)
    assert (fitted.loaded, fitted.unexpected, fitted.left, fitted.share) == (11, ("teacher.weight",), "", 1)
    assert all(torch.equal(value, state()[name]) for name, value in model.state_dict().items())


def test_of_two_whole_models_in_one_file_nothing_is_guessed():
    halves = {f"netG_A.{name}": value for name, value in state().items()}
    attempt = halves | {f"netG_B.{name}": value for name, value in state().items()}
    message = untouched(zoo.Digits(), attempt)
    assert "holds all of the model under 2 names (netG_A, netG_B)" in message
    assert "--key netG_A" in message
    # An average, or one whose shapes are others, is not meant.
    for other in ("ema_model", "netG_B"):
        beside = {f"{other}.{name}": torch.zeros(1, *value.shape) for name, value in state().items()}
        if other == "ema_model":
            beside = {name: value[0] for name, value in beside.items()}
        assert fit(zoo.Digits(), beside | halves).prefix == "netG_A."


def test_another_shape_is_told():
    message = untouched(zoo.Digits(hidden=20), state())
    assert "3 different (fc1.weight: 16×144 in the file, 20×144 in the model, fc1.bias: 16 in the file" in message


def test_partial_loads_what_fits_and_says_what_did_not():
    attempt = state()
    del attempt["fc2.bias"]
    attempt["extra"] = torch.zeros(3)
    model = zoo.Digits(hidden=20)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fitted = fit(model, attempt, partial=True)
    assert fitted.missing == ("fc2.bias",)
    assert fitted.unexpected == ("extra",)
    assert fitted.misshapen == ("fc1.weight", "fc1.bias", "fc2.weight")
    assert fitted.loaded == 7
    assert fitted.left == "4 of 11 tensors stayed at their initialisation: fc2.bias, fc1.weight, fc1.bias, fc2.weight"
    for name, tensor in model.state_dict().items():
        stayed = name in fitted.missing or name in fitted.misshapen
        assert torch.equal(tensor, before[name] if stayed else attempt[name])


def test_partial_does_not_mean_nothing():
    for attempt in ({}, {"x": torch.zeros(1)}):
        with pytest.raises(ModelError, match="0 match"):
            fit(zoo.Digits(), attempt, partial=True)


def test_check_changes_nothing():
    model = zoo.Digits()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert plan(model, state()).fitted == fit(zoo.Digits(), state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_counters_of_normalisation_are_not_missed():
    attempt = state()
    del attempt["norm.num_batches_tracked"]
    assert fit(zoo.Digits(), attempt).missing == ()


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


def test_tied_weights_need_be_there_once():
    weight = torch.randn(5, 3)
    for attempt in ({"embed.weight": weight}, {"head.weight": weight}, {"embed.weight": weight, "head.weight": weight}):
        model = Tied()
        assert fit(model, attempt).missing == ()
        assert torch.equal(model.head.weight, weight)
        assert model.head.weight is model.embed.weight


def test_tied_weights_that_differ_are_refused():
    attempt = {"embed.weight": torch.ones(5, 3), "head.weight": torch.zeros(5, 3)}
    assert "different values for embed.weight and head.weight" in untouched(Tied(), attempt)


def test_precision_is_converted():
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state().items()}
    model = zoo.Digits()
    fit(model, half)
    assert model.fc1.weight.dtype == torch.float32
    assert torch.equal(model.fc1.weight, half["fc1.weight"].float())
    double = zoo.Digits().double()
    fit(double, state())
    assert torch.equal(double.fc1.weight, state()["fc1.weight"].double())


def test_whole_numbers_are_no_weights():
    attempt = state() | {"fc1.weight": torch.zeros(16, 144, dtype=torch.int8)}
    assert "fc1.weight: torch.int8 in the file, torch.float32 in the model" in untouched(zoo.Digits(), attempt)


@pytest.mark.parametrize(
    "odd",
    [torch.zeros(10, device="meta"), torch.zeros(10).to_sparse()],
)
def test_tensors_without_plain_numbers_are_refused(odd):
    untouched(zoo.Digits(), state() | {"fc2.bias": odd})


def test_a_model_without_memory_is_refused():
    with torch.device("meta"):
        model = zoo.Digits()
    with pytest.raises(ModelError, match="meta device"):
        fit(model, state())


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.LazyConv2d(4, 3)
        self.norm = nn.LazyBatchNorm2d()
        self.fc1 = nn.LazyLinear(16)
        self.fc2 = nn.LazyLinear(10)

    forward = zoo.Digits.forward


def test_lazy_modules_take_their_shapes_from_the_file():
    model = Lazy()
    fit(model, state())
    images = zoo.digits()[0][:20]
    assert torch.equal(model.eval()(images), zoo.trained()[0].eval()(images))
    zoo.trained()[0].train()


def test_a_lazy_module_that_nothing_fits_stays_lazy():
    attempt = state()
    del attempt["fc2.weight"], attempt["fc2.bias"]
    model = Lazy()
    with pytest.raises(ModelError, match=r"2 missing \(fc2\.weight, fc2\.bias\)"):
        fit(model, attempt)
    assert isinstance(model.fc1.weight, nn.UninitializedParameter)
    assert fit(model, attempt, partial=True).missing == ("fc2.weight", "fc2.bias")
    assert model(zoo.digits()[0][:2]).shape == (2, 10)


def test_a_model_saved_before_its_first_forward_is_refused():
    message = untouched(zoo.Digits(), state() | {"fc2.bias": nn.UninitializedParameter()})
    assert "fc2.bias: saved before the first forward" in message


def test_weight_norm_of_old_is_taken():
    """Modules may rename what they load, as PyTorch's parametrizations do."""
    old, new = nn.Linear(3, 2), nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    old = nn.utils.parametrizations.weight_norm(old)
    fit(new, old.state_dict())
    inputs = torch.randn(4, 3)
    assert torch.equal(new(inputs), old(inputs))


class Picky(nn.Linear):
    """Copies its weight and then thinks better of it."""

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        if state_dict[f"{prefix}weight"].sum() < 0:
            raise ValueError("negative")


def test_a_module_that_refuses_half_way_is_put_back():
    model = nn.Sequential(nn.Linear(2, 2), Picky(2, 2))
    before = {name: tensor.clone().abs() for name, tensor in model.state_dict().items()}
    fit(model, before)
    with pytest.raises(ModelError, match="negative"):
        fit(model, {name: -tensor for name, tensor in before.items()})
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_two_of_different_architectures_are_told_apart():
    other = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).state_dict()
    assert "of the 11 tensors of the model, 0 match; 10 missing" in untouched(zoo.Digits(), other)


def test_the_file_is_named_where_it_is_given():
    with pytest.raises(ModelError, match=r"^runs/epoch-3\.pt: does not fit"):
        fit(zoo.Digits(), {"x": torch.zeros(1)}, source="runs/epoch-3.pt")
