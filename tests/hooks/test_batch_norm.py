"""A model in eval mode that normalises as in training: by what, of which layers, and what becomes of the model."""

import copy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from icshift.hooks.batch_norm import (
    InputStatistics,
    averaging,
    evaluating_as_trained,
    held_in_eval,
    probe_statistics,
    running_statistics,
    using,
)


@pytest.fixture
def group():
    """A group of this process alone, as a script has that is started by a launcher."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def mixed():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 6), nn.BatchNorm1d(6, track_running_stats=False)
    )


def sending(model, *batches):
    def send(after):
        for batch in batches:
            model(batch)
            after()

    return send


def test_batch_norm_is_by_the_statistics_of_all_that_is_sent():
    model, inputs = mixed(), torch.randn(40, 5) * 3 + 1
    with evaluating_as_trained(model, sending(model, inputs[:10], inputs[10:])):
        given = model[0](inputs)
        found = model[1](given)
        assert not model.training
        assert torch.equal(model[2](found), found)  # Without dropout.
    expected = (given - given.mean(0)) / (given.var(0, correction=0) + model[1].eps).sqrt()
    np.testing.assert_allclose(found, expected.detach(), atol=1e-5)


def test_instance_norm_with_running_averages_is_by_the_instance():
    model, inputs = nn.InstanceNorm1d(3, track_running_stats=True), torch.randn(4, 3, 8)
    expected = copy.deepcopy(model).train()(inputs)

    def unused(_):
        raise AssertionError("no statistics are needed")

    with evaluating_as_trained(model, unused):
        assert torch.equal(model(inputs), expected)


def test_frozen_layers_keep_their_running_averages():
    model, inputs = mixed(), torch.randn(40, 5)
    model[1].eval()
    model[1].running_mean.fill_(2.0)
    assert held_in_eval(model) == {model[1]}
    with evaluating_as_trained(model, sending(model, inputs), held_in_eval(model)):
        found = model[1](torch.full((1, 6), 2.0))
    assert torch.equal(found, torch.zeros(1, 6))


def test_the_model_is_left_as_it_was_whatever_waits_for_a_backward():
    model, inputs = mixed(), torch.randn(40, 5)
    model.eval()
    loss = model(inputs).sum()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with evaluating_as_trained(model, sending(model, inputs)):
        model(inputs)
    loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module.training or module._forward_pre_hooks for module in model.modules())


@pytest.mark.usefixtures("group")
def test_synchronised_batch_norm_does_not_wait_for_other_processes():
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(5, 6), nn.SyncBatchNorm(6)), torch.randn(40, 5)
    plain = nn.Sequential(copy.deepcopy(model[0]), nn.BatchNorm1d(6))
    seen = []
    model[1].register_forward_pre_hook(lambda layer, _: seen.append(layer.training))
    with evaluating_as_trained(model, sending(model, inputs)), evaluating_as_trained(plain, sending(plain, inputs)):
        np.testing.assert_allclose(model(inputs), plain(inputs), atol=1e-6)
    assert seen == [False, False]
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        evaluating_as_trained(model, sending(model, inputs[:1])).__enter__()


def test_which_layers_keep_running_averages():
    model = mixed()
    assert averaging(model) == [model[1]]
    assert probe_statistics(model) == "own inputs"
    assert probe_statistics(model[0]) is None
    assert list(running_statistics(model)) == ["1"]


def test_statistics_are_exchanged_within_a_block_alone():
    model, inputs = mixed(), torch.randn(40, 5)
    with InputStatistics(model) as inputs_of_layers:
        model(inputs)
        inputs_of_layers.end_forward()
    own = {name: seen[0] for name, seen in inputs_of_layers.by_layer.items()}
    before = model[1].running_mean.clone()
    with using(model, own):
        np.testing.assert_allclose(model[1].running_mean, own["1"].mean, rtol=1e-6)
    assert torch.equal(model[1].running_mean, before)


@pytest.mark.some(2)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("layer", "training", "expected"),
    [
        (nn.BatchNorm1d(3), False, "running averages"),
        (nn.InstanceNorm1d(3, track_running_stats=True), False, "running averages"),
        (nn.BatchNorm1d(3), True, None),
        (nn.BatchNorm1d(3, track_running_stats=False), False, None),
        (nn.LayerNorm(4), False, None),
    ],
    ids=["batch norm", "instance norm", "batch norm in training", "no averages", "layer norm"],
)
def test_averages_are_found_in_an_exported_program(layer, training, expected):
    """Its layers are operators of a graph: nothing of it could normalise in another way."""
    model = nn.Sequential(nn.Linear(4, 4), layer).train(training)
    exported = torch.export.export(model, (torch.randn(2, 3, 4),))
    for program in (exported.module(), torch.export.unflatten(exported), nn.Sequential(exported.module())):
        assert not averaging(program)
        assert probe_statistics(program) == expected
