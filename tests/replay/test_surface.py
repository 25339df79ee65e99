"""What `icshift landscape` measures around saved models, without its command line."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from icshift.errors import MeasurementError, ModelError
from icshift.inputs import losses, targets
from icshift.inputs.data import Reading
from icshift.replay.surface import Asked, Survey, normalised_by, points_table
from tests.zoo import with_targets as network


@pytest.fixture
def survey(tmp_path):
    """Makes a model and its survey: cross-entropy over 60 examples, and a slice of 3 x 3 points unless asked."""

    def make(inputs=None, classes=None, **asked):
        torch.manual_seed(0)
        model = network.Net().double()
        given = network.data() if inputs is None else (inputs, classes)
        np.savez(tmp_path / "data.npz", x=given[0].numpy(), target=given[1].numpy())
        data = targets.read_with_targets(str(tmp_path / "data.npz"), model, Reading())
        return model, Survey(model, data, losses.loss_named("cross_entropy"), Asked(**{"top": 1, "points": 3, **asked}))

    return make


def ignore(_):
    pass


def test_a_model_is_where_its_parameters_are_seen_from_the_first(survey):
    model, around = survey(plane="random", seed=1)
    first = around.measure("first", ignore, ignore)
    start = network.vector(model).clone()

    def move(model):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)

    second = around.measure("second", move, ignore)
    assert first.displacement is None
    assert second.displacement.distance == pytest.approx(float((network.vector(model) - start).norm()))
    assert second.displacement.distance == pytest.approx(0.01 * math.sqrt(len(start)))
    assert 0 < second.displacement.off_plane <= second.displacement.distance
    assert 0 <= second.displacement.cosine <= 1 + 1e-9
    assert second.as_dict()["moved"]["place"] == second.displacement.place


def test_every_point_of_a_slice_is_a_row_and_the_model_itself_too(survey):
    model, around = survey(points=4, radius=0.5)
    surface = around.measure("net", ignore, ignore)
    table = points_table([surface])
    assert list(table.columns) == ["model", "alpha", "beta", "loss"]
    assert len(table) == 4 * 4 + 1
    assert table.iloc[0].tolist() == ["net", 0, 0, surface.loss]
    model.eval().norm.train()
    assert surface.loss == pytest.approx(float(network.loss_of(model)(network.vector(model))))
    assert sorted(set(table["alpha"])) == pytest.approx([-0.5, -0.5 / 3, 0, 0.5 / 3, 0.5])
    assert points_table([]).empty


def test_it_is_told_after_every_piece_of_work(survey):
    done = []
    _, around = survey(rate=0.1)
    surface = around.measure("net", ignore, done.append)
    assert done == ["Hessian"] * surface.spectrum.products + ["gradient"] + ["slice"] * 9


def test_what_all_numbers_depend_on_leaves_out_what_is_not_finite(survey):
    inputs, classes = network.data()
    inputs[:4, 1] = np.nan
    about = survey(inputs, classes)[1].about()
    assert (about["examples"], about["left_out"], about["batches"], about["batch_size"]) == (56, 4, 1, 56)
    assert (about["network"], about["loss_function"], about["batch_norm"]) == ("Net", "cross_entropy", "batch")


def test_data_without_a_finite_example_are_refused(survey):
    inputs, classes = network.data()
    with pytest.raises(ModelError, match="no example that is finite"):
        survey(inputs * np.nan, classes)


def test_an_error_says_which_model_it_is_about(survey):
    def spoil(model):
        with torch.no_grad():
            model.fc1.weight.fill_(np.nan)

    with pytest.raises(MeasurementError, match=r"^epoch 7: the loss is nan"):
        survey()[1].measure("epoch 7", spoil, ignore)


@pytest.mark.parametrize(
    ("layers", "in_training", "by_averages"),
    [
        ((nn.Linear(2, 2),), (None, None), (None, None)),
        ((nn.BatchNorm1d(2),), ("batch", None), ("running averages", None)),
        ((nn.SyncBatchNorm(2),), ("batch", None), ("running averages", None)),
        ((nn.BatchNorm1d(2, track_running_stats=False),), ("batch", None), ("batch", None)),
        (
            (nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False)),
            ("batch", None),
            ("running averages, else batch", None),
        ),
        ((nn.InstanceNorm1d(2),), (None, "example"), (None, "example")),
        ((nn.InstanceNorm1d(2, track_running_stats=True),), (None, "example"), (None, "running averages")),
        ((nn.LayerNorm(2), nn.GroupNorm(1, 2)), (None, None), (None, None)),
    ],
)
def test_what_layers_normalise_by(layers, in_training, by_averages):
    model = nn.Sequential(*layers)
    for running, expected in ((False, in_training), (True, by_averages)):
        assert tuple(normalised_by(model, running=running).values()) == expected
