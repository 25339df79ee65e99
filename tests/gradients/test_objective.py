"""An objective is a function of the parameters alone, and computing it leaves no trace."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from icshift.errors import MeasurementError
from icshift.gradients.objective import Objective, dot, norm, trainable, with_parameters
from icshift.gradients.smoothness import smoothness


def network(*, dropout: float = 0.5) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 3))


def batch(size: int = 24) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.standard_normal((size, 4)).astype(np.float32)), torch.arange(size) % 3


def closure_of(model: nn.Module, rows: slice = slice(None)) -> Any:
    inputs, classes = batch()
    return lambda: nn.functional.cross_entropy(model(inputs[rows]), classes[rows])


def test_the_weighted_mean_of_parts_is_the_whole() -> None:
    model = network().eval()
    parameters = list(model.parameters())
    parts = [closure_of(model, rows) for rows in (slice(0, 3), slice(3, 4), slice(4, 24))]
    whole, split = Objective(model, closure_of(model)), Objective(model, parts, weights=[3, 1, 20])
    assert split.loss() == pytest.approx(whole.loss(), rel=1e-6)
    loss, gradient = split.loss_and_gradient(parameters)
    assert loss == pytest.approx(split.loss(), rel=1e-6)
    for found, expected in zip(gradient, whole.gradient(parameters), strict=True):
        torch.testing.assert_close(found, expected)
    assert Objective(model, parts).loss() == pytest.approx(
        np.mean([float(part().detach()) for part in parts]), rel=1e-6
    )


def test_the_gradient_is_what_backward_gives() -> None:
    model = network()
    objective = Objective(model, closure_of(model))
    loss, gradient = objective.loss_and_gradient(list(model.parameters()))
    own = closure_of(model)()
    own.backward()
    assert loss == float(own.detach())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradient, strict=True))


def test_parameters_that_are_not_in_the_loss_have_a_zero_gradient() -> None:
    model = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    objective = Objective(model, lambda: model[0](torch.ones(1, 2)).sum())
    assert [float(g.abs().sum()) > 0 for g in objective.gradient(list(model.parameters()))] == [
        True,
        True,
        False,
        False,
    ]
    assert objective.gradient([]) == []


def noisy(model: nn.Module) -> Any:
    """A closure that draws from every generator."""
    inner = closure_of(model)
    return lambda: inner() * (1 + random.random() + np.random.rand()) + torch.rand(())


def test_every_evaluation_sees_the_same_draws_and_buffers() -> None:
    model = network()
    objective = Objective(model, noisy(model))
    first = objective.loss()
    assert objective.loss_and_gradient(list(model.parameters()))[0] == first
    for _ in range(3):
        noisy(model)()  # Draws on, and moves the running statistics.
    assert objective.loss() == first
    assert Objective(model, noisy(model)).loss() != first
    model.eval()
    evaluated = objective.loss()
    model[1].running_mean += 1
    assert objective.loss() == evaluated


class Remembers(nn.Linear):
    """Keeps its last output, as layers with a state do, and a buffer that gets its size in the first forward."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.state = 0.0
        self.register_buffer("seen", torch.empty(0))

    def forward(self, inputs: Tensor) -> Tensor:
        out = super().forward(inputs) + self.state
        self.state = out.detach()
        if not self.seen.numel():
            self.seen.resize_(4).zero_()
        self.seen += 1
        return out * self.seen


def test_every_evaluation_starts_from_the_same_attributes() -> None:
    torch.manual_seed(0)
    model = Remembers()
    objective = Objective(model, closure_of(model))
    first = objective.loss()
    assert (model.state, len(model.seen)) == (0, 0)
    closure_of(model)()
    state = model.state
    assert objective.loss() == first
    assert model.state is state
    assert model.seen.tolist() == [1, 1, 1, 1]
    assert Objective(model, closure_of(model)).loss() != first


@pytest.mark.parametrize("fails", [False, True])
def test_it_leaves_buffers_random_states_and_grads(fails: bool) -> None:
    model = network()
    closure_of(model)().backward()
    before = copy.deepcopy(model.state_dict())
    grads = [(p.grad, p.grad.clone()) for p in model.parameters()]
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())

    def closure() -> Tensor:
        loss = noisy(model)()
        model.zero_grad()
        model.eval()
        model.left = "behind"
        if fails:
            raise ArithmeticError
        return loss

    objective = Objective(model, closure)
    for evaluate in (objective.loss, lambda: objective.gradient(list(model.parameters()))):
        if fails:
            with pytest.raises(ArithmeticError):
                evaluate()
        else:
            evaluate()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is grad for p, (grad, _) in zip(model.parameters(), grads, strict=True))
    assert all(torch.equal(grad, value) for grad, value in grads)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1:] == (random.getstate(), str(np.random.get_state()))
    assert all(module.training for module in model.modules())
    assert not hasattr(model, "left")
    assert torch.is_grad_enabled()


def test_a_forward_made_before_can_go_backward_after() -> None:
    """Batch normalisation keeps its buffers for the backward, and notices if they are written to."""
    model, twin = network(dropout=0), network(dropout=0)
    objective = Objective(model, closure_of(model))
    loss = closure_of(model)()
    objective.loss()
    objective.gradient(list(model.parameters()))
    loss.backward()
    closure_of(twin)().backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_with_parameters_exchanges_values_and_brings_them_back() -> None:
    model = network()
    parameters = list(model.parameters())
    before = [(p.data_ptr(), p.detach().clone()) for p in parameters]
    there = [torch.full_like(p, 2) for p in parameters]
    with with_parameters(parameters, there):
        assert all((p == 2).all() for p in parameters)
    assert all(
        p.data_ptr() == place and torch.equal(p, value) for p, (place, value) in zip(parameters, before, strict=True)
    )


def test_norm_and_dot_against_numpy() -> None:
    rng = np.random.default_rng(0)
    a, b = ([torch.from_numpy(rng.standard_normal(n).astype(np.float32)) for n in (3, 50)] for _ in range(2))
    x, y = (np.concatenate([t.double().numpy() for t in tensors]) for tensors in (a, b))
    assert norm(a) == pytest.approx(np.linalg.norm(x), rel=1e-14)
    assert dot(a, b) == pytest.approx(x @ y, rel=1e-13)
    assert norm([]) == dot([], []) == 0
    assert norm([torch.full((2,), 1e30)]) == pytest.approx(math.sqrt(2) * 1e30)
    assert math.isnan(norm([torch.tensor([math.nan, 1])]))
    assert norm([torch.tensor([math.inf, 1])]) == math.inf


def test_trainable_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    assert list(trainable(model)) == ["0.weight", "1.bias"]
    with pytest.raises(MeasurementError, match="Sequential has no parameter that requires a gradient"):
        trainable(model.requires_grad_(False))


def going_backward(model: nn.Module) -> Tensor:
    loss = closure_of(model)()
    loss.backward()
    return loss


@pytest.mark.parametrize(
    ("closure", "message"),
    [
        (lambda model: float(closure_of(model)().detach()), "gave float: expected the loss"),
        (lambda model: model(batch()[0]), r"gave a tensor of shape \[24, 3\]: expected one number"),
        (lambda model: closure_of(model)().detach(), "loss depends on no parameter"),
        (going_backward, r"calls backward\(\): expected one that computes the loss"),
        (
            lambda model: checkpoint(model[1:], model[0](batch()[0]), use_reentrant=True).sum(),
            "gradients of the closure's loss cannot be computed: .*[Cc]heckpoint",
        ),
        (
            lambda model: checkpoint(model, batch()[0].requires_grad_(), use_reentrant=True).sum(),
            "reentrant checkpoints hide parameters.*use_reentrant=False",
        ),
    ],
)
def test_closures_that_give_no_loss(closure: Any, message: str) -> None:
    model = network()
    with pytest.raises(MeasurementError, match=message):
        Objective(model, lambda: closure(model)).gradient(list(model.parameters()))
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("weights", [[1], [1, -1, 1], [0, 0, 0], [1, 1, math.nan]])
def test_weights_that_are_none(weights: list[float]) -> None:
    model = network()
    with pytest.raises(MeasurementError, match=r"weights are .*: expected 3, none negative"):
        Objective(model, [closure_of(model)] * 3, weights)


def test_no_closure_and_a_model_that_is_not_initialised() -> None:
    with pytest.raises(MeasurementError, match="there is no closure"):
        Objective(network(), [])
    model = nn.Sequential(nn.LazyLinear(3))
    with pytest.raises(MeasurementError, match=r"0\.weight, 0\.bias are not initialised yet: send a batch"):
        Objective(model, closure_of(model))
    model(batch()[0])
    assert Objective(model, closure_of(model)).loss() > 0


def test_other_models_start_the_same_and_are_left_as_they_were() -> None:
    model, critic = nn.Sequential(nn.Linear(4, 4)), Remembers()
    objective = Objective(model, lambda: critic(model(torch.ones(8, 4))).square().sum())
    assert objective.others == []
    first = objective.loss()
    assert objective.others == [critic]
    assert (critic.state, len(critic.seen)) == (0.0, 0)
    critic(torch.ones(8, 4))
    state = critic.state
    assert objective.loss() == first
    assert critic.state is state
    assert critic.seen.tolist() == [1, 1, 1, 1]


class Collects(nn.Linear):
    """Keeps parts of a loss in a list, as a router of experts does, until somebody takes them."""

    def __init__(self) -> None:
        super().__init__(4, 4)
        self.penalties: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        out = super().forward(inputs)
        self.penalties.append(out.square().mean())
        return out


def test_lists_of_modules_hold_what_they_held() -> None:
    model = Collects()
    model(torch.ones(2, 4))
    waiting = list(model.penalties)
    objective = Objective(model, lambda: model(torch.ones(2, 4)).sum() + torch.stack(model.penalties).sum())
    first = objective.loss()
    assert objective.loss() == first
    assert [id(one) for one in model.penalties] == [id(one) for one in waiting]


def test_a_closure_that_is_not_the_same_function_is_told_of() -> None:
    model, generator = network(), torch.Generator().manual_seed(0)
    steady = Objective(model, closure_of(model))
    steady.confirm(steady.loss())
    with pytest.raises(MeasurementError, match="at the same parameters: expected the same examples"):
        steady.confirm(steady.loss() * 1.01)
    Objective(model, lambda: model(torch.ones(8, 4)).sum() * math.nan).confirm(math.nan)
    drawing = Objective(model, lambda: model(torch.randn(8, 4, generator=generator)).square().sum())
    with pytest.raises(MeasurementError, match="at the same parameters"):
        drawing.confirm(drawing.loss())
    with pytest.raises(MeasurementError, match="at the same parameters"):
        smoothness(drawing, 0.1)


def test_autocast_is_that_of_the_snapshot_and_keeps_no_copies_of_parameters() -> None:
    model = nn.Linear(4, 4)
    parameters = list(model.parameters())
    elsewhere = [p.detach() + 1 for p in parameters]

    def closure() -> Tensor:
        return model(torch.ones(2, 4)).float().square().sum()

    plain = Objective(model, closure)
    with torch.autocast("cpu", torch.bfloat16):
        lower = Objective(model, closure)
        before = closure()  # Its casts of the parameters are in the cache.
        with with_parameters(parameters, elsewhere):
            there = lower.loss_and_gradient(parameters)[0]
        assert torch.equal(closure(), before)
        assert plain.loss() == _without_autocast(closure).item()
    with with_parameters(parameters, elsewhere):
        assert lower.loss() == there != plain.loss()


def _without_autocast(closure: Any) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return closure()
