"""The ends of the Hessian's spectrum against the exact Hessian, closed forms and PyHessian's algorithm."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from icshift.errors import MeasurementError
from icshift.gradients import hessian as module
from icshift.gradients.hessian import hessian
from icshift.gradients.objective import Objective, trainable
from tests.oracles import pyhessian


def exact(model, loss):
    """The whole Hessian [n, n] in double precision; `loss` is of a function that calls the model."""
    model = copy.deepcopy(model).double()
    names, parameters = zip(*trainable(model).items(), strict=True)
    sizes = [parameter.numel() for parameter in parameters]

    def of(flat):
        parts = [part.view_as(p) for part, p in zip(flat.split(sizes), parameters, strict=True)]
        return loss(lambda *inputs: functional_call(model, dict(zip(names, parts, strict=True)), inputs))

    found = torch.autograd.functional.hessian(of, torch.cat([p.detach().reshape(-1) for p in parameters]))
    return found.numpy()


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors]).double().numpy()


def small(kind):
    torch.manual_seed(3)
    norm = [nn.BatchNorm1d(5)] if kind == "batch norm" else []
    return nn.Sequential(nn.Linear(4, 5), *norm, nn.Tanh(), nn.Linear(5, 3))


def examples(count=40, features=4, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator), torch.randint(0, 3, (count,), generator=generator)


class Bowl(nn.Module):
    """loss = sum of curvature · weight² / 2."""

    def __init__(self, *curvatures, dtype=torch.float64):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(len(curvatures), dtype=dtype))
        self.register_buffer("curvatures", torch.tensor(curvatures, dtype=dtype))

    def forward(self):
        return (self.curvatures * self.weight**2).sum() / 2


def spectrum_of(*curvatures, dtype=torch.float64, **options):
    bowl = Bowl(*curvatures, dtype=dtype)
    return hessian(Objective(bowl, bowl), **options)


# Exact Hessians


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", ["plain", "batch norm"])
def test_both_ends_are_those_of_the_exact_hessian(kind, dtype):
    inputs, classes = examples()
    model = small(kind).to(dtype)

    def loss(network, precision=torch.float64):
        return functional.cross_entropy(network(inputs.to(precision)), classes)

    expected = exact(model, loss)
    values, vectors = np.linalg.eigh(expected)
    found = hessian(Objective(model, lambda: loss(model, dtype)), iterations=200)
    assert found.parameters == len(expected)
    assert found.converged
    np.testing.assert_allclose(found.eigenvalues, values[:-6:-1], rtol=1e-4)
    np.testing.assert_allclose(found.smallest, values[0], rtol=1e-4)
    assert (np.abs(found.eigenvalues - values[:-6:-1]) <= found.errors).all()
    assert abs(found.smallest - values[0]) <= found.smallest_error
    for vector, truth in zip(found.vectors, vectors.T[:-6:-1], strict=True):
        assert [v.shape for v in vector] == [p.shape for p in model.parameters()]
        assert abs(flat(vector) @ truth) == pytest.approx(1, abs=1e-3)


def test_errors_bound_the_distance_to_an_eigenvalue_when_the_search_is_cut_short():
    inputs, classes = examples()
    model = small("plain").double()
    values = np.linalg.eigvalsh(
        exact(model, lambda network: functional.cross_entropy(network(inputs.double()), classes))
    )
    for iterations in (1, 2, 4, 8, 16):
        objective = Objective(model, lambda: functional.cross_entropy(model(inputs.double()), classes))
        found = hessian(objective, iterations=iterations)
        assert not found.converged
        assert found.products <= iterations
        assert math.isnan(found.condition)
        for value, error in [
            *zip(found.eigenvalues, found.errors, strict=True),
            (found.smallest, found.smallest_error),
        ]:
            assert np.abs(values - value).min() <= error


def test_a_search_with_little_memory_goes_on_from_its_best_vectors(monkeypatch):
    values = [*np.geomspace(50, 1, 120), *-np.geomspace(0.1, 10, 80)]
    monkeypatch.setattr(module, "MEMORY", 0)
    found = spectrum_of(*values, top=3, iterations=400)
    assert found.converged
    assert found.products > 3 * 3 + 8
    np.testing.assert_allclose(found.eigenvalues, values[:3], rtol=1e-6)
    assert found.smallest == pytest.approx(-10, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_vectors_stay_orthogonal_where_products_hardly_lead_out_of_the_space(dtype):
    eps = torch.finfo(dtype).eps
    for values in (
        [1, *np.linspace(-30 * eps, 30 * eps, 300)],
        [3, 2, 1, *[0.5] * 100, *np.linspace(0, 100 * eps, 99)],
    ):
        found = spectrum_of(*values, dtype=dtype)
        vectors = np.array([flat(vector) for vector in found.vectors])
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=20 * eps)
        np.testing.assert_allclose(found.eigenvalues, np.sort(values)[:-6:-1], atol=20 * eps)


def test_a_small_negative_curvature_is_searched_as_closely_as_the_largest_eigenvalue_asks():
    found = spectrum_of(100, 90, 80, 70, 60, *np.linspace(-1, 1, 300))
    assert found.converged
    assert found.smallest == pytest.approx(-1, abs=1e-4 * 100)
    assert 1e-4 < found.smallest_error <= 1e-4 * 100


# Closed forms


def regression(inputs):
    """Two weights, half the mean squared error: the Hessian is E[x xᵀ]."""
    model = nn.Linear(2, 1, bias=False, dtype=inputs.dtype)
    return Objective(model, lambda: functional.mse_loss(model(inputs), inputs[:, :1] * 2) / 2)


def uncorrelated(count=500):
    """Two features of mean 0, variance 1 and covariance 0, exactly."""
    drawn = torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(drawn - drawn.mean(0))[0] * count**0.5


@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
@pytest.mark.parametrize(("sd", "kappa"), [(10, 100), (100, 10_000), (1, 1)])
def test_condition_of_a_linear_model_is_the_ratio_of_the_variances(sd, kappa, dtype, close):
    inputs = (uncorrelated() * torch.tensor([1.0, sd])).to(dtype)
    found = hessian(regression(inputs))
    assert found.condition == pytest.approx(kappa, rel=close)
    np.testing.assert_allclose(found.eigenvalues, [sd**2, 1], rtol=close)


def test_standardising_leaves_what_correlation_does_to_the_condition():
    rho = 0.9
    mixed = uncorrelated() @ torch.tensor([[1, rho], [0, (1 - rho**2) ** 0.5]], dtype=torch.float64)
    standardised = (mixed * torch.tensor([3.0, 0.2]) - 7) / torch.tensor([3.0, 0.2])
    standardised = (standardised - standardised.mean(0)) / standardised.std(0, correction=0)
    assert hessian(regression(standardised)).condition == pytest.approx(19)


def test_the_mean_of_the_inputs_counts():
    assert hessian(regression(uncorrelated() + 5)).condition == pytest.approx(51)


def test_negative_curvature_is_found():
    found = spectrum_of(3.0, -7.0, 1.0)
    np.testing.assert_allclose(found.eigenvalues, [3, 1, -7])
    assert found.smallest == pytest.approx(-7)
    assert math.isnan(found.condition)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_multiple_eigenvalues_are_found_as_often_as_they_are_there(dtype):
    found = spectrum_of(5, 5, 5, 4.5, 4, *np.linspace(-1, 3, 200), -2, dtype=dtype)
    np.testing.assert_allclose(found.eigenvalues, [5, 5, 5, 4.5, 4], rtol=1e-4)
    assert found.converged
    vectors = np.array([flat(vector) for vector in found.vectors])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=1e-4)


def test_several_outputs_have_every_eigenvalue_as_often():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(300, 20, generator=generator, dtype=torch.float64) * torch.linspace(0.1, 2, 20)
    model = nn.Linear(20, 4, bias=False, dtype=torch.float64)
    found = hessian(Objective(model, lambda: model(inputs).pow(2).sum(1).mean() / 2))
    one = np.linalg.eigvalsh((inputs.T @ inputs / 300).numpy())[::-1]
    np.testing.assert_allclose(found.eigenvalues, [*[one[0]] * 4, one[1]], rtol=1e-4)


def test_a_multiple_of_the_identity_has_condition_one():
    found = spectrum_of(*[2.5] * 30)
    np.testing.assert_allclose(found.eigenvalues, [2.5] * 5)
    assert found.condition == pytest.approx(1)
    assert found.converged


def test_a_linear_loss_has_no_curvature():
    model = nn.Linear(6, 2)
    found = hessian(Objective(model, lambda: model(torch.ones(3, 6)).sum()))
    np.testing.assert_array_equal(found.eigenvalues, np.zeros(5))
    assert found.smallest == 0
    assert math.isnan(found.condition)
    assert found.converged


def test_every_product_is_told():
    model, told = nn.Linear(6, 1), []
    found = hessian(Objective(model, lambda: model(torch.eye(6)).pow(2).sum()), after=lambda: told.append(1))
    assert len(told) == found.products > 0


def test_fewer_values_than_wanted_are_not_all_that_was_asked():
    found = spectrum_of(*[0.0] * 9, iterations=3)
    assert len(found.eigenvalues) == 3
    assert not found.converged


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_flat_direction_has_no_condition_number(dtype):
    found = spectrum_of(4, 3, 2, 1, 0, 0, 0, dtype=dtype)
    assert found.smallest == pytest.approx(0, abs=1e-6)
    assert math.isnan(found.condition)


def test_a_smallest_eigenvalue_that_is_not_resolved_gives_no_condition_number():
    values = np.geomspace(1e-6, 1, 500)
    found = spectrum_of(*values, iterations=30)
    assert found.smallest > 0
    assert found.smallest_error > 0.05 * found.smallest
    assert math.isnan(found.condition)
    assert not found.converged


def test_fewer_parameters_than_wanted_give_as_many_as_there_are():
    found = spectrum_of(1, 2, top=7)
    np.testing.assert_allclose(found.eigenvalues, [2, 1])
    assert len(found.vectors) == 2
    assert spectrum_of(3.0).condition == 1


def test_frozen_parameters_do_not_count():
    inputs, classes = examples()
    model = small("plain").double()
    model[0].requires_grad_(False)

    def loss(network):
        return functional.cross_entropy(network(inputs.double()), classes)

    found = hessian(Objective(model, lambda: loss(model)))
    assert found.parameters == 18
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(exact(model, loss))[:-6:-1], rtol=1e-4)


# PyHessian's algorithm, on the digits


EXAMPLES = 600


def digits():
    images, classes = load_digits(return_X_y=True)
    return (torch.tensor(images[:EXAMPLES]) > 7).float(), torch.tensor(classes[:EXAMPLES])


def trained(*, batch_norm, steps=200):
    """64-30-30-10 with ReLU: 3,190 parameters, 3,310 with batch norm."""
    torch.manual_seed(0)
    layers, width = [], 64
    for _ in range(2):
        layers += [nn.Linear(width, 30), *([nn.BatchNorm1d(30)] if batch_norm else []), nn.ReLU()]
        width = 30
    model = nn.Sequential(*layers, nn.Linear(30, 10))
    inputs, classes = digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        batch = torch.randint(0, EXAMPLES, (60,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs[batch]), classes[batch]).backward()
        optimizer.step()
    return model


@pytest.mark.some(1)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_digits_network_has_the_eigenvalues_that_power_iteration_finds(batch_norm):
    model, (inputs, classes) = trained(batch_norm=batch_norm), digits()
    found = hessian(Objective(model, lambda: functional.cross_entropy(model(inputs), classes)))
    loss = functional.cross_entropy(model(inputs), classes)
    assert loss.item() < 1
    expected = pyhessian.eigenvalues(loss, list(model.parameters()), 3, tolerance=1e-5)
    assert found.converged
    np.testing.assert_allclose(found.eigenvalues[:3], expected, rtol=5e-3)


def test_batch_norm_has_another_hessian_in_eval_mode_and_keeps_its_buffers():
    model, (inputs, classes) = trained(batch_norm=True, steps=50), digits()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draw = torch.get_rng_state()

    def top():
        return hessian(Objective(model, lambda: functional.cross_entropy(model(inputs), classes)), top=1).eigenvalues[0]

    training = top()
    evaluating = (model.eval(), top())[1]
    assert abs(evaluating / training - 1) > 0.2
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), draw)


# Models


def test_several_batches_are_their_weighted_mean():
    inputs, classes = examples()
    model = small("plain").double()
    parts = [slice(0, 30), slice(30, 40)]
    closures = [
        lambda part=part: functional.cross_entropy(model(inputs[part].double()), classes[part]) for part in parts
    ]
    whole = hessian(Objective(model, lambda: functional.cross_entropy(model(inputs.double()), classes)))
    np.testing.assert_allclose(hessian(Objective(model, closures, [30, 10])).eigenvalues, whole.eigenvalues, rtol=1e-8)


def test_dropout_drops_the_same_units_in_every_product():
    torch.manual_seed(0)
    inputs, classes = examples()
    model = nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Dropout(0.5), nn.Linear(12, 3)).double()
    objective = Objective(model, lambda: functional.cross_entropy(model(inputs.double()), classes))
    torch.manual_seed(77)
    model_draws = hessian(objective)
    assert model_draws.converged
    assert (model_draws.errors < 1e-3 * model_draws.eigenvalues[0]).all()


def transformer():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(40, 3))


def test_attention_runs_on_a_kernel_that_can_be_differentiated_twice():
    tokens = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(2))
    classes = torch.tensor([0, 1, 2, 0, 1, 2])
    model = transformer()
    found = hessian(Objective(model, lambda: functional.cross_entropy(model(tokens), classes)), top=2)
    plain = copy.deepcopy(model).double()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = functional.cross_entropy(plain(tokens.double()), classes)
        first = pyhessian.eigenvalues(loss, list(plain.parameters()), 1, tolerance=1e-8, iterations=400)
    assert found.converged
    assert found.eigenvalues[0] == pytest.approx(first[0], rel=1e-3)


@pytest.mark.thorough
def test_recurrent_and_compiled_models_are_measured():
    torch.manual_seed(0)
    inputs, classes = examples()
    model = small("plain")
    expected = hessian(Objective(model, lambda: functional.cross_entropy(model(inputs), classes))).eigenvalues
    compiled = torch.compile(model, backend="aot_eager")
    compiled(inputs)
    found = hessian(Objective(compiled, lambda: functional.cross_entropy(compiled(inputs), classes)))
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=1e-5)
    recurrent = nn.LSTM(4, 3, batch_first=True)
    sequences = inputs.view(8, 5, 4)
    assert hessian(Objective(recurrent, lambda: recurrent(sequences)[0].pow(2).mean())).converged


def test_sparse_gradients_give_what_dense_ones_give():
    tokens = torch.tensor([[0, 1], [2, 3], [3, 3]])
    found = []
    for sparse in (False, True):
        torch.manual_seed(0)
        model = nn.Embedding(6, 3, sparse=sparse)
        found.append(hessian(Objective(model, lambda model=model: model(tokens).sum(1).tanh().pow(2).mean())))
    np.testing.assert_allclose(found[1].eigenvalues, found[0].eigenvalues, atol=1e-6)
    assert found[0].eigenvalues[0] > 0.1


def test_autocast_changes_the_products_and_not_the_search():
    inputs, classes = examples()
    model = small("plain")

    def closure():
        return functional.cross_entropy(model(inputs), classes)

    exactly = hessian(Objective(model, closure), iterations=40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = hessian(Objective(model, closure), iterations=40)
    difference = np.abs(found.eigenvalues - exactly.eigenvalues)
    assert (difference > 1e-5).any()
    assert (difference < 0.02 * exactly.eigenvalues[0]).all()
    vectors = np.array([flat(vector) for vector in found.vectors])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(5), atol=1e-5)


# Mistakes


class Once(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        context.save_for_backward(values)
        return values**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return gradient * 2 * context.saved_tensors[0]


@pytest.mark.parametrize("kind", ["once", "embedding bag"])
def test_operations_without_a_second_derivative_are_an_error_that_says_what_to_do(kind):
    bag, layer = nn.EmbeddingBag(4, 2), nn.Linear(4, 2)
    model, values = {
        "once": (layer, lambda: Once.apply(layer(torch.ones(2, 4)))),
        "embedding bag": (bag, lambda: bag(torch.tensor([[0, 1], [2, 3]]))),
    }[kind]
    with pytest.raises(MeasurementError, match=r"cannot be differentiated twice .*: put a plain one in its place"):
        hessian(Objective(model, lambda: values().pow(2).sum()))


def test_attention_that_insists_on_another_kernel_is_an_error():
    tokens = torch.randn(6, 5, 8)
    model = transformer()

    def closure():
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.FLASH_ATTENTION):
            return model(tokens).pow(2).mean()

    with pytest.raises(MeasurementError, match=r"sdpa_kernel\(SDPBackend.MATH\)"):
        hessian(Objective(model, closure))


class Lopsided(torch.autograd.Function):
    """a · b, the gradient of which forgets that one of its parts depends on a."""

    @staticmethod
    def forward(context, a, b):
        context.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(context, gradient):
        a, b = context.saved_tensors
        return gradient * b, gradient * a.detach()


def test_a_wrong_second_derivative_shows_in_the_errors():
    model = nn.Linear(1, 2, bias=False, dtype=torch.float64)
    found = hessian(Objective(model, lambda: Lopsided.apply(model.weight[0, 0], model.weight[1, 0])))
    np.testing.assert_allclose(found.eigenvalues, [0.5, -0.5])
    np.testing.assert_allclose(found.errors, [0.5, 0.5])


def test_other_errors_of_the_closure_are_its_own():
    model = nn.Linear(3, 1)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        hessian(Objective(model, lambda: model(torch.ones(2, 5)).sum()))


def test_a_hessian_that_is_not_finite_is_an_error():
    bowl = Bowl(1.0, math.inf)
    with pytest.raises(MeasurementError, match=r"not finite: inf in a product with it, at a loss of inf"):
        hessian(Objective(bowl, bowl))


def test_a_closure_that_takes_the_next_batch_is_an_error():
    inputs, classes = examples(400)
    model = small("plain")
    batches = iter(range(0, 400, 20))

    def closure():
        start = next(batches)
        return functional.cross_entropy(model(inputs[start : start + 20]), classes[start : start + 20])

    with pytest.raises(MeasurementError, match="same examples whenever it is called"):
        hessian(Objective(model, closure))


@pytest.mark.parametrize("wrong", [{"top": 0}, {"iterations": 0}, {"tolerance": 0.0}, {"tolerance": math.nan}])
def test_numbers_that_make_no_sense_are_an_error(wrong):
    with pytest.raises(MeasurementError, match="expected more than zero"):
        spectrum_of(1.0, 2.0, **wrong)


def test_complex_parameters_are_an_error():
    model = nn.Linear(2, 1, dtype=torch.complex64)
    with pytest.raises(MeasurementError, match="complex"):
        hessian(Objective(model, lambda: model(torch.ones(1, 2, dtype=torch.complex64)).abs().sum()))


def test_the_model_is_untouched_also_when_the_closure_raises():
    inputs, classes = examples()
    model = small("batch norm")
    functional.cross_entropy(model(inputs), classes).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    calls = iter(range(100))

    def closure():
        if next(calls) == 3:
            raise ZeroDivisionError
        return functional.cross_entropy(model(inputs), classes)

    objective = Objective(model, closure)
    with pytest.raises(ZeroDivisionError):
        hessian(objective)
    hessian(objective)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(torch.equal(a, p.grad) for a, p in zip(gradients, model.parameters(), strict=True))
    assert model.training
