"""The mode that a model is in while icshift sends something through it, and that it is in afterwards."""

import pytest
import torch
from torch import nn

from icshift.model.modes import differs_by_mode, evaluating, in_training_mode


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 2))


def mixed():
    """In training, with a frozen batch norm."""
    model = network()
    model[1].eval()
    return model


def modes(model):
    return [module.training for module in model.modules()]


def test_by_running_averages_everything_is_in_eval_mode():
    with evaluating(model := network()):
        assert not any(modes(model))
        assert torch.equal(model(x := torch.randn(6, 4)), model(x))


def test_by_the_batch_only_normalising_layers_are_in_training_mode():
    with evaluating(model := network(), "batch"):
        assert [module.training for module in model] == [False, True, False, False]
        given = []
        model[1].register_forward_hook(lambda _, __, output: given.append(output))
        model(torch.randn(50, 4) + 3)
    assert torch.allclose(given[0].mean(0), torch.zeros(5), atol=1e-5)


def test_in_training_mode_all_of_it_is():
    with in_training_mode(model := mixed()):
        assert all(modes(model))


@pytest.mark.parametrize("block", [evaluating, lambda model: evaluating(model, "batch"), in_training_mode])
def test_afterwards_all_is_as_it_was_even_after_an_error(block):
    model = mixed()
    before, state = modes(model), {name: value.clone() for name, value in model.state_dict().items()}
    drawn = torch.get_rng_state()
    with pytest.raises(KeyError), block(model):  # noqa: PT012
        model(torch.randn(8, 4))
        raise KeyError
    assert modes(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.BatchNorm2d(3), True),
        (nn.SyncBatchNorm(3), True),
        (nn.InstanceNorm2d(3, track_running_stats=True), True),
        (nn.LayerNorm(3), False),
        (nn.GroupNorm(1, 3), False),
        (nn.Dropout(), False),
    ],
)
def test_which_layers_may_normalise_differently(module, expected):
    assert differs_by_mode(module) is expected
