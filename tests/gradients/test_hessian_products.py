"""Products with the Hessian are those with the exact Hessian, and what they cannot be is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icshift.errors import MeasurementError
from icshift.gradients.hessian_products import Product, products
from icshift.gradients.objective import Objective


def measured(dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Objective]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.Tanh(), nn.Linear(4, 2, dtype=dtype))
    inputs, target = torch.randn(10, 3, dtype=dtype), torch.randn(10, 2, dtype=dtype)
    return model, Objective(model, lambda: (model(inputs) - target).square().mean())


def exact_hessian(model: nn.Module, objective: Objective) -> np.ndarray:
    """[size, size], by central differences of the gradient, column by column."""
    parameters = list(model.parameters())
    columns, length = [], 1e-5
    for parameter in parameters:
        for entry in range(parameter.numel()):
            ends = []
            for sign in (1, -1):
                parameter.data.view(-1)[entry] += sign * length
                ends.append(torch.cat([g.reshape(-1) for g in objective.gradient(parameters)]))
                parameter.data.view(-1)[entry] -= sign * length
            columns.append((ends[0] - ends[1]) / (2 * length))
    return torch.stack(columns, dim=1).numpy()


def test_products_are_those_with_the_exact_hessian() -> None:
    model, objective = measured()
    product = Product(objective)
    expected = exact_hessian(model, objective)
    assert product.size == len(expected) == 3 * 4 + 4 + 4 * 2 + 2
    found = product(torch.eye(product.size, dtype=torch.float64))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_the_loss_and_directions_shaped_like_the_parameters() -> None:
    model, objective = measured()
    parameters = list(model.parameters())
    direction = [torch.ones_like(p) for p in parameters]
    loss, (once, thrice) = products(objective, parameters, [direction, [3 * d for d in direction]])
    assert loss == objective.loss()
    assert [image.shape for image in once] == [p.shape for p in parameters]
    for a, b in zip(once, thrice, strict=True):
        torch.testing.assert_close(3 * a, b)
    assert all(p.grad is None for p in parameters)


def test_a_parameter_in_which_the_loss_is_linear_has_a_product_of_zero() -> None:
    model = nn.Linear(2, 2)
    objective = Objective(model, lambda: model.weight.square().sum() + model.bias.sum())
    _, [(weight, bias)] = products(
        objective, list(model.parameters()), [[torch.ones_like(p) for p in model.parameters()]]
    )
    assert torch.equal(weight, torch.full_like(weight, 2))
    assert torch.equal(bias, torch.zeros_like(bias))


def test_rows_are_counted_and_told_one_by_one() -> None:
    told: list[int] = []
    product = Product(measured()[1], lambda: told.append(product.count))
    product(torch.zeros(3, product.size, dtype=torch.float64))
    product(torch.zeros(1, product.size, dtype=torch.float64))
    assert told == [1, 2, 3, 4]


def test_a_row_becomes_tensors_of_its_own() -> None:
    model, objective = measured(torch.float32)
    product = Product(objective)
    row = torch.arange(product.size, dtype=torch.float64)
    tensors = product.shaped(row)
    assert [(t.shape, t.dtype) for t in tensors] == [(p.shape, p.dtype) for p in model.parameters()]
    assert torch.cat([t.reshape(-1) for t in tensors]).tolist() == row.tolist()
    tensors[0].zero_()
    assert row.tolist() == list(range(product.size))


@pytest.mark.parametrize(
    ("dtypes", "precision", "coarsest"),
    [
        ((torch.float64, torch.float64), torch.float64, torch.float64),
        ((torch.float32, torch.float64), torch.float64, torch.float32),
        ((torch.bfloat16, torch.bfloat16), torch.float32, torch.bfloat16),
    ],
)
def test_the_search_is_as_fine_as_the_finest_type_and_as_sure_as_the_coarsest(dtypes, precision, coarsest) -> None:
    model = nn.ModuleList(nn.Linear(1, 1, bias=False, dtype=dtype) for dtype in dtypes)
    product = Product(Objective(model, lambda: sum(p.double().square().sum() for p in model.parameters())))
    assert product.precision == precision
    assert product.eps == torch.finfo(coarsest).eps


def test_a_loss_that_is_another_at_the_next_call_is_an_error() -> None:
    model, factors = nn.Linear(2, 1, bias=False), iter((1.0, 1.0001, 1.1))

    def closure() -> Tensor:
        return next(factors) * (1 + model.weight.square().sum())

    product = Product(Objective(model, closure))
    product(torch.ones(1, 2))
    product(torch.ones(1, 2))  # As far apart as rounding may be.
    with pytest.raises(MeasurementError, match="let it compute the same examples whenever it is called"):
        product(torch.ones(1, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_product_that_is_not_finite_is_an_error(value: float) -> None:
    model = nn.Linear(2, 1, bias=False)
    objective = Objective(model, lambda: value * model.weight.square().sum())
    with pytest.raises(MeasurementError, match="the Hessian is not finite"):
        Product(objective)(torch.ones(1, 2))


class Once(torch.autograd.Function):
    """A square whose derivative has none."""

    @staticmethod
    def forward(context, inputs):
        context.save_for_backward(inputs)
        return inputs.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return 2 * context.saved_tensors[0] * gradient


def test_an_operation_that_is_differentiable_once_is_an_error() -> None:
    model = nn.Linear(2, 1, bias=False)
    objective = Objective(model, lambda: Once.apply(model.weight).square().sum())
    with pytest.raises(MeasurementError, match=r"cannot be differentiated twice \(a function is marked once_diff"):
        Product(objective)(torch.ones(1, 2))
