"""Two-dimensional slices of the loss against losses of copies, exact Hessians and quadratic bowls."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from icshift.errors import MeasurementError
from icshift.gradients.hessian import hessian
from icshift.gradients.objective import Objective, trainable
from icshift.gradients.slices import loss_slice, random_directions
from tests.gradients.test_hessian import exact, examples, flat, regression, small, uncorrelated


class Quadratic(nn.Module):
    """loss = (w - lowest)ᵀ curvature (w - lowest) / 2 for weights [1, n] at 0."""

    def __init__(self, curvature, lowest):
        super().__init__()
        self.curvature = torch.tensor(curvature, dtype=torch.float64)
        self.lowest = torch.tensor(lowest, dtype=torch.float64)
        self.weight = nn.Parameter(torch.zeros(1, len(lowest), dtype=torch.float64))

    def forward(self):
        away = self.weight[0] - self.lowest
        return away @ self.curvature @ away / 2

    def along(self, *directions, **options):
        given = [[torch.tensor([direction], dtype=torch.float64)] for direction in directions]
        return loss_slice(Objective(self, self), given, **{"radius": 1, "points": 11} | options)


def network():
    torch.manual_seed(0)
    layers = nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(0.3), nn.Flatten(), nn.Linear(9, 3)
    return nn.Sequential(*layers)


def objective_of(model, dtype=torch.float32):
    inputs, classes = examples()
    return Objective(model, lambda: functional.cross_entropy(model(inputs[:, None].to(dtype)), classes))


# Directions


def test_filters_of_random_directions_are_as_long_as_those_of_the_model():
    model = network()
    model[5].weight.data[1] = 0
    for direction in random_directions(model, 7):
        assert [d.shape for d in direction] == [p.shape for p in model.parameters()]
        for tensor, parameter in zip(direction, model.parameters(), strict=True):
            if parameter.ndim <= 1:
                assert not tensor.any()
                continue
            for drawn, filter_ in zip(tensor, parameter, strict=True):
                assert drawn.norm().item() == pytest.approx(filter_.norm().item(), rel=1e-5)


def test_random_directions_come_from_the_seed_and_leave_torch_s_draws():
    model = network()
    before = torch.get_rng_state()
    first, again, other = (random_directions(model, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(flat(first[0]), flat(again[0]))
    for a, b in [(first[0], first[1]), (first[0], other[0]), (first[1], other[0])]:
        assert abs(flat(a) @ flat(b)) < 0.9 * np.linalg.norm(flat(a)) * np.linalg.norm(flat(b))


def test_random_directions_are_normal_draws():
    model = nn.Linear(400, 200)
    first, second = random_directions(model, 0)
    standard = (first[0] / first[0].std(1, keepdim=True)).flatten()
    assert float(standard.mean()) == pytest.approx(0, abs=0.02)
    assert float((standard**4).mean()) == pytest.approx(3, abs=0.1)
    assert abs(float(functional.cosine_similarity(first[0].flatten(), second[0].flatten(), 0))) < 0.02


def test_frozen_parameters_have_no_direction():
    model = network()
    model[0].requires_grad_(False)
    assert [len(direction) for direction in random_directions(model, 0)] == [4, 4]


# The grid


def test_losses_are_those_of_a_copy_moved_there():
    model = network()
    directions = random_directions(model, 3)
    found = loss_slice(objective_of(model), directions, radius=(0.5, 2), points=5)
    np.testing.assert_allclose(found.first, [-0.5, -0.25, 0, 0.25, 0.5])
    np.testing.assert_allclose(found.second, [-2, -1, 0, 1, 2])
    inputs, classes = examples()
    for i, j in [(0, 0), (0, 4), (1, 3), (2, 2), (4, 1)]:
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for p, d1, d2 in zip(moved.parameters(), *directions, strict=True):
                p.add_(found.first[i] * d1 + found.second[j] * d2)
            draws = torch.get_rng_state()
            expected = float(functional.cross_entropy(moved(inputs[:, None]), classes))
            torch.set_rng_state(draws)
        assert found.losses[i, j] == pytest.approx(expected, rel=1e-5)


def test_the_centre_is_the_loss_itself():
    model = network()
    objective = objective_of(model)
    found = loss_slice(objective, random_directions(model, 3), radius=0.7, points=3)
    assert found.first[1] == found.second[1] == 0
    assert found.losses[1, 1] == objective.loss()


def test_losses_that_are_not_finite_are_kept():
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    model.weight.data[:] = 1.0
    closure = lambda: model.weight[0, 0].log() ** 2 + model.weight[0, 1] ** 2  # noqa: E731
    directions = [[torch.tensor([[1.0, 0]])], [torch.tensor([[0, 1.0]])]]
    found = loss_slice(Objective(model, closure), directions, radius=2, points=5)
    np.testing.assert_array_equal(np.isnan(found.losses).all(axis=1), [True, False, False, False, False])
    np.testing.assert_array_equal(np.isinf(found.losses).all(axis=1), [False, True, False, False, False])
    assert found.lowest == (0, -1, 0)
    assert np.isnan(found.minimum).all()
    assert found.minimum_gap == "losses beside the lowest point are not finite"


def test_after_is_called_after_every_evaluation():
    calls = []
    bowl = Quadratic([[1, 0], [0, 1]], [0, 0])
    bowl.along([1, 0], [0, 1], points=4, after=lambda: calls.append(bowl.weight.detach().clone()))
    assert len(calls) == 16
    assert not any(weight.any() for weight in calls)


def test_the_lowest_point_of_a_bowl_is_found():
    bowl = Quadratic([[2, 0], [0, 5]], [0.4, -0.6])
    found = bowl.along([1, 0], [0, 1])
    assert found.lowest == (pytest.approx(0.4), pytest.approx(-0.6), pytest.approx(0, abs=1e-12))
    assert not found.at_edge
    assert found.losses.min() == found.losses[7, 2]


@pytest.mark.covering(1)
@pytest.mark.parametrize("points", [11, 14, 21])
@pytest.mark.parametrize("lowest", [[0.37, -0.61], [0.0123, 0.7], [-0.47, 0.23]])
@pytest.mark.parametrize("curvature", [[[2, 0], [0, 5]], [[1, 0.9], [0.9, 1]], [[100, 3], [3, 0.5]]])
def test_the_minimum_of_a_bowl_is_exact_wherever_it_lies_between_the_points(curvature, lowest, points):
    found = Quadratic(curvature, lowest).along([1, 0], [0, 1], points=points)
    np.testing.assert_allclose(found.minimum, [*lowest, 0], atol=1e-6)
    assert found.minimum_gap == ""
    assert found.lowest[2] > 0


def test_the_minimum_of_a_bowl_is_that_of_the_hessian_and_in_the_coordinates_of_the_directions():
    found = Quadratic([[2, 1], [1, 5]], [0.3, -0.2]).along([5, 0], [0.3, 0.1], radius=(0.6, 4), points=9)
    np.testing.assert_allclose(found.minimum[:2], found.quadratic_minimum, atol=1e-9)


def test_in_single_precision_a_minimum_is_known_to_rounding():
    model = nn.Linear(2, 1, bias=False)
    model.weight.data[:] = torch.tensor([[0.3, -0.4]])
    directions = [[torch.tensor([[1.0, 0]])], [torch.tensor([[0, 1.0]])]]
    scales = torch.tensor([[3.0, 1.0]])
    objective = Objective(model, lambda: 1 + (scales * model.weight.square()).sum())
    found = loss_slice(objective, directions, radius=1, points=11)
    np.testing.assert_allclose(found.minimum, [-0.3, 0.4, 1], atol=1e-4)


def test_the_minimum_of_what_is_no_quadratic_is_nearer_than_the_grid():
    """Of log cosh(w - 0.37), whose lowest point of the grid is 0.03 off."""
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    model.weight.data[:] = 0
    lowest = torch.tensor([[0.37, -0.61]], dtype=torch.float64)
    directions = [[torch.tensor([[1.0, 0]])], [torch.tensor([[0, 1.0]])]]
    objective = Objective(model, lambda: (model.weight - lowest).cosh().log().sum())
    found = loss_slice(objective, directions, radius=1, points=11)
    np.testing.assert_allclose(found.minimum, [0.37, -0.61, 0], atol=1e-3)
    assert abs(found.lowest[0] - 0.37) > 0.02


@pytest.mark.parametrize("steep", [10, 100])
def test_a_valley_that_a_quadratic_does_not_follow_has_no_minimum(steep):
    """Rosenbrock's, which is curved: a quadratic would have a minimum below 0."""
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    model.weight.data[:] = 0

    def loss():
        a, b = model.weight[0]
        return (0.7 - a) ** 2 + steep * (b - a * a) ** 2

    directions = [[torch.tensor([[1.0, 0]])], [torch.tensor([[0, 1.0]])]]
    found = loss_slice(Objective(model, loss), directions, radius=1.25, points=11)
    assert np.isnan(found.minimum).all()
    assert found.minimum_gap == "the loss around the lowest point is no quadratic: it takes more points"


def test_a_minimum_outside_is_at_the_edge():
    found = Quadratic([[2, 0], [0, 5]], [3, 0]).along([1, 0], [0, 1])
    assert found.at_edge
    assert found.lowest[:2] == (1, 0)
    assert np.isnan(found.minimum).all()
    assert found.minimum_gap == "the lowest point lies on the edge: the loss may fall further outside"
    assert found.quadratic_minimum == (pytest.approx(3), pytest.approx(0))
    assert Quadratic([[2, 0], [0, 5]], [0, -3]).along([1, 0], [0, 1]).at_edge


def test_of_equally_low_points_the_nearest_is_the_lowest_and_none_is_a_minimum():
    model = nn.Linear(2, 1, bias=False)
    directions = [[torch.tensor([[1.0, 0]])], [torch.tensor([[0, 1.0]])]]
    found = loss_slice(Objective(model, lambda: model.weight.sum() * 0), directions, radius=1, points=5)
    assert found.lowest == (0, 0, 0)
    assert not found.at_edge
    assert found.minimum_gap == "around the lowest point the loss is no bowl"


# The shape at the centre


@pytest.mark.parametrize("kappa", [1, 19, 100, 10_000])
def test_elongation_is_the_root_of_the_condition_number(kappa):
    turn = np.linalg.qr([[1, 2], [3, -1]])[0]
    bowl = Quadratic((turn @ np.diag([kappa, 1.0]) @ turn.T).tolist(), [0.3, -0.2])
    # Neither the lengths of the directions nor their angle may look like elongation.
    found = bowl.along([5, 0], [0.3, 0.1])
    assert found.elongation == pytest.approx(math.sqrt(kappa))
    assert found.curvatures == (pytest.approx(kappa), pytest.approx(1))
    assert found.lengths == (pytest.approx(5), pytest.approx(0.1**0.5))
    assert found.cosine == pytest.approx(0.3 / 0.1**0.5)
    a, b = found.quadratic_minimum
    np.testing.assert_allclose([5 * a + 0.3 * b, 0.1 * b], [0.3, -0.2])


@pytest.mark.parametrize("sd", [1, 10, 100])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_elongation_of_a_two_weight_model_is_the_ratio_of_its_features_spreads(sd, dtype):
    objective = regression((uncorrelated() * torch.tensor([1.0, sd])).to(dtype))
    directions = random_directions(objective.model, 0)
    found = loss_slice(objective, directions, radius=1, points=3)
    assert found.elongation == pytest.approx(sd, rel=1e-3)
    assert found.elongation**2 == pytest.approx(hessian(objective).condition, rel=2e-3)


def test_curvatures_are_those_of_the_exact_hessian_in_the_plane():
    model = small("plain")
    inputs, classes = examples()
    whole = exact(model, lambda network: functional.cross_entropy(network(inputs.double()), classes))
    directions = random_directions(model, 1)
    objective = Objective(model, lambda: functional.cross_entropy(model(inputs), classes))
    found = loss_slice(objective, directions, radius=1, points=2)
    plane = np.linalg.qr(np.array([flat(direction) for direction in directions]).T)[0]
    np.testing.assert_allclose(found.curvatures, np.linalg.eigvalsh(plane.T @ whole @ plane)[::-1], rtol=1e-4)


def test_the_plane_of_the_top_eigenvectors_has_their_curvatures():
    inputs, classes = examples()
    model = small("plain").double()
    objective = Objective(model, lambda: functional.cross_entropy(model(inputs.double()), classes))
    spectrum = hessian(objective, top=2)
    found = loss_slice(objective, spectrum.vectors, radius=0.1, points=2)
    np.testing.assert_allclose(found.curvatures, spectrum.eigenvalues, rtol=1e-6)
    assert found.lengths == (pytest.approx(1), pytest.approx(1))
    assert found.cosine == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("curvature", [[[1, 0], [0, -3]], [[1, 0], [0, 0]], [[-1, 0], [0, -2]]])
def test_a_saddle_or_a_flat_direction_has_no_elongation(curvature):
    found = Quadratic(curvature, [0.2, 0.1]).along([1, 0], [1, 2])
    assert math.isnan(found.elongation)
    assert all(math.isnan(value) for value in found.quadratic_minimum)
    assert found.curvatures == (max(curvature[0][0], curvature[1][1]), pytest.approx(min(np.diag(curvature))))


def test_rounding_is_not_taken_for_curvature():
    for angle in np.linspace(0.1, 1.5, 20):
        normal = np.array([math.cos(angle), math.sin(angle)])
        found = Quadratic(np.outer(normal, normal).tolist(), [0.2, 0.1]).along([1, 0], [0.3, 1])
        assert found.curvatures == (pytest.approx(1), pytest.approx(0, abs=1e-14))
        assert math.isnan(found.elongation)


# Nothing is left behind, and mistakes


def state_of(model):
    tensors = {**model.state_dict(), **{f"grad of {name}": p.grad for name, p in model.named_parameters()}}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def test_the_model_is_bit_identical_afterwards_also_when_the_closure_raises():
    model = network()
    objective_of(model).model(examples()[0][:, None]).sum().backward()
    before, draws = state_of(model), torch.get_rng_state()
    storages = [parameter.data_ptr() for parameter in model.parameters()]
    loss_slice(objective_of(model), random_directions(model, 0), radius=1, points=3)
    calls = iter(range(8))

    def closure():
        next(calls)
        return model(examples()[0][:, None]).square().mean()

    with pytest.raises(StopIteration):
        loss_slice(Objective(model, closure), random_directions(model, 0), radius=1, points=4)
    after = state_of(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert storages == [parameter.data_ptr() for parameter in model.parameters()]
    assert torch.equal(torch.get_rng_state(), draws)


def test_a_graph_that_the_training_holds_can_still_go_backward():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    inputs, classes = examples()
    expected = torch.autograd.grad(functional.cross_entropy(model(inputs), classes), list(model.parameters()))
    loss = functional.cross_entropy(model(inputs), classes)
    objective = Objective(model, lambda: functional.cross_entropy(model(inputs), classes))
    loss_slice(objective, random_directions(model, 0), radius=1, points=3)
    found = torch.autograd.grad(loss, list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_functional_call_gives_the_same_losses():
    model = small("batch norm").double()
    inputs, classes = examples()
    directions = random_directions(model, 5)
    objective = Objective(model, lambda: functional.cross_entropy(model(inputs.double()), classes))
    found = loss_slice(objective, directions, radius=1, points=3)
    names = list(trainable(model))
    for i, a in enumerate(found.first):
        for j, b in enumerate(found.second):
            values = [p.detach() + a * d1 + b * d2 for p, d1, d2 in zip(model.parameters(), *directions, strict=True)]
            outputs = functional_call(copy.deepcopy(model), dict(zip(names, values, strict=True)), inputs.double())
            assert found.losses[i, j] == pytest.approx(float(functional.cross_entropy(outputs, classes).detach()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([[[1, 0]], [[2, 0]]], "parallel"),
        ([[[1, 0]], [[0, 0]]], r"lengths 1 and 0: expected two above zero"),
        ([[[1, 0]], [[math.nan, 0]]], "lengths 1 and nan"),
        ([[[1, 0]]], "got 1 directions: expected two"),
        ([[[1, 0]], [[1, 0, 3]]], r"shapes \[1, 3\]; expected those of the trainable parameters, \[1, 2\]"),
    ],
)
def test_directions_that_make_no_plane_are_an_error(given, said):
    bowl = Quadratic([[1, 0], [0, 1]], [0, 0])
    directions = [[torch.tensor(direction, dtype=torch.float64)] for direction in given]
    with pytest.raises(MeasurementError, match=said):
        loss_slice(Objective(bowl, bowl), directions, radius=1)


@pytest.mark.parametrize("wrong", [{"radius": 0}, {"radius": (1, -1)}, {"radius": math.inf}, {"points": 1}])
def test_grids_that_make_no_sense_are_an_error(wrong):
    with pytest.raises(MeasurementError, match="expected a radius above zero and two points or more"):
        Quadratic([[1, 0], [0, 1]], [0, 0]).along([1, 0], [0, 1], **wrong)


def test_a_model_without_matrices_has_no_random_plane():
    norm = nn.BatchNorm1d(4)
    inputs = examples()[0]
    with pytest.raises(MeasurementError, match="no parameter of two dimensions"):
        loss_slice(Objective(norm, lambda: norm(inputs).pow(2).mean()), random_directions(norm, 0), radius=1)
