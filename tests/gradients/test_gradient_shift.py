"""Gradient shift against models rebuilt from copies, and a training that it leaves as it was."""

from __future__ import annotations

import copy
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from icshift.errors import MeasurementError, SelectionError
from icshift.gradients.gradient_shift import LayerShift, Step, gradient_shift
from icshift.gradients.objective import Objective
from icshift.gradients.smoothness import smoothness
from tests.oracles import rebuilt
from tests.oracles.rebuilt import OPTIMIZERS, SPECIMENS, Specimen


def objective(specimen: Specimen, model: nn.Module) -> Objective:
    return Objective(model, lambda: specimen.loss(model))


def train_a_step(specimen: Specimen, model: nn.Module, optimizer: Any) -> float:
    optimizer.zero_grad()
    loss = specimen.loss(model)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def assert_equal(found: list[LayerShift], expected: dict[str, rebuilt.Shift]) -> None:
    """To 1e-6 of the gradient's norm; where these agreed, they did to 7e-16."""
    assert [shift.layer for shift in found] == list(expected)
    for shift in found:
        other = expected[shift.layer]
        for name in ("l2", "norm", "norm_after"):
            assert getattr(shift, name) == pytest.approx(getattr(other, name), abs=1e-6 * other.norm, rel=0), name
        assert shift.cosine == pytest.approx(other.cosine, abs=1e-6, nan_ok=True)
        assert math.isnan(shift.cosine) == (other.norm == 0)


def state_of(*parts: Any) -> Any:
    """All that a training is made of, as copies."""
    return copy.deepcopy([*(part.state_dict() for part in parts), torch.get_rng_state()])


def assert_identical(a: Any, b: Any) -> None:
    if isinstance(a, Tensor):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        assert_identical(list(a.values()), list(b.values()))
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_identical(x, y)
    else:
        assert a == b


@pytest.mark.some(8)
@pytest.mark.covering(2)
@pytest.mark.parametrize("counted", ["all", "weights"])
@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("name", SPECIMENS)
def test_it_equals_what_models_rebuilt_from_copies_give(name: str, optimizer_name: str, counted: Any) -> None:
    specimen, make = SPECIMENS[name], OPTIMIZERS[optimizer_name]
    model, optimizer = rebuilt.trained(specimen, make)
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    would_be = rebuilt.stepped(specimen, model, optimizer, make, drawn)
    torch.set_rng_state(drawn)

    given = objective(specimen, model)
    alone = gradient_shift(given, optimizer, counted=counted)
    step = Step(given, counted=counted)
    train_a_step(specimen, model, optimizer)
    around = step.measure()

    assert_equal(alone, rebuilt.shifts(specimen, before, would_be, drawn, counted=counted))
    assert_equal(around, rebuilt.shifts(specimen, before, model.state_dict(), drawn, counted=counted))
    assert max(shift.l2 / shift.norm for shift in around if shift.norm) > 0.001  # Enough to tell them apart.


@pytest.mark.parametrize("name", ["dropout_and_batch_norm", "transformer"])
def test_it_equals_them_in_eval_mode(name: str) -> None:
    specimen = SPECIMENS[name]
    model, optimizer = rebuilt.trained(specimen, OPTIMIZERS["adam"])
    model.eval()
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    step = Step(objective(specimen, model))
    model.train()
    train_a_step(specimen, model, optimizer)
    found = step.measure()
    assert model.training
    assert_equal(found, rebuilt.shifts(specimen, before, model.state_dict(), drawn, training=False))


def test_clipping_and_several_optimizers_are_in_the_step() -> None:
    specimen = SPECIMENS["dropout_and_batch_norm"]
    model, _ = rebuilt.trained(specimen, OPTIMIZERS["sgd"])
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    parameters = list(model.parameters())
    optimizers = [torch.optim.SGD(parameters[:4], lr=1.0), torch.optim.Adam(parameters[4:], lr=0.01)]
    step = Step(objective(specimen, model), layers=["4", "8"])
    model.zero_grad()
    specimen.loss(model).backward()
    nn.utils.clip_grad_norm_(parameters, 0.01)
    for optimizer in optimizers:
        optimizer.step()
    expected = rebuilt.shifts(specimen, before, model.state_dict(), drawn)
    assert step.layers == ["4", "8"]
    assert_equal(step.measure(), {layer: expected[layer] for layer in step.layers})


def test_scaled_gradients_and_a_skipped_step() -> None:
    """A step that a gradient scaler skips shifts nothing."""
    specimen = SPECIMENS["convolutional"]
    model, optimizer = rebuilt.trained(specimen, OPTIMIZERS["momentum"])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    for spoiled in (False, True):
        optimizer.zero_grad()
        step = Step(objective(specimen, model))
        scaler.scale(specimen.loss(model)).backward()
        if spoiled:
            next(model.parameters()).grad.view(-1)[0] = math.inf
        scaler.step(optimizer)
        scaler.update()
        assert all((shift.l2 == 0 and shift.cosine == 1) == spoiled for shift in step.measure()[1:])


def test_the_first_layer_has_none_before_it() -> None:
    specimen = SPECIMENS["convolutional"]
    model, optimizer = rebuilt.trained(specimen, OPTIMIZERS["sgd"])
    calls = []
    given = Objective(model, lambda: calls.append(None) or specimen.loss(model))
    step = Step(given, layers="0")
    train_a_step(specimen, model, optimizer)
    (shift,) = step.measure()
    assert len(calls) == 2  # For G, and to see that the loss is still the same.
    assert (shift.layer, shift.l2, shift.cosine) == ("0", 0, 1)
    assert shift.parameters == 4 * 2 * 9 + 4
    assert shift.norm == shift.norm_after > 0


def run_training(name: str, optimizer_name: str, *, measured: bool) -> tuple[list[float], Any]:
    """24 steps with shuffled batches; the losses, and all that the training is made of at its end."""
    specimen = SPECIMENS[name]
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    model = specimen.build()
    optimizer = OPTIMIZERS[optimizer_name](model.parameters())
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=24)
    inputs, classes = specimen.batch()
    losses = []
    for _ in range(24):
        batch = torch.randperm(len(inputs))[: len(inputs) // 2]

        def closure(batch: Tensor = batch) -> Tensor:
            return nn.functional.cross_entropy(model(inputs[batch]), classes[batch])

        step = Step(Objective(model, closure)) if measured else None
        if measured:
            gradient_shift(Objective(model, closure), optimizer)
            smoothness(Objective(model, closure), 0.1, steps=[1])
        optimizer.zero_grad()
        loss = closure()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step is not None:
            step.measure()
        losses.append(float(loss.detach()))
    grads = [p.grad for p in model.parameters()]
    numpy_state = np.random.get_state()
    return losses, [state_of(model, optimizer, schedule), grads, random.getstate(), [str(part) for part in numpy_state]]


@pytest.mark.some(1)
@pytest.mark.parametrize(("name", "optimizer_name"), [("dropout_and_batch_norm", "adam"), ("transformer", "adamw")])
def test_a_training_stays_bit_identical(name: str, optimizer_name: str) -> None:
    losses, state = run_training(name, optimizer_name, measured=False)
    losses_measured, state_measured = run_training(name, optimizer_name, measured=True)
    assert losses == losses_measured
    assert len(set(losses)) > 20
    assert_identical(state, state_measured)


def test_measuring_leaves_the_model_as_it_was() -> None:
    specimen = SPECIMENS["dropout_and_batch_norm"]
    model, optimizer = rebuilt.trained(specimen, OPTIMIZERS["momentum"])
    step = Step(objective(specimen, model))
    train_a_step(specimen, model, optimizer)
    model[1].eval()
    before = state_of(model, optimizer)
    places = [p.data_ptr() for p in model.parameters()]
    grads = [(p.grad, p.grad.clone()) for p in model.parameters()]
    modes = [module.training for module in model.modules()]
    first, second = step.measure(), step.measure()
    assert first == second
    assert_identical(before, state_of(model, optimizer))
    assert places == [p.data_ptr() for p in model.parameters()]
    assert modes == [module.training for module in model.modules()]
    for parameter, (grad, value) in zip(model.parameters(), grads, strict=True):
        assert parameter.grad is grad
        assert torch.equal(grad, value)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["around a step", "alone"])
def test_a_forward_made_before_it_can_go_backward_after_it(kind: str) -> None:
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    inputs, classes = SPECIMENS["shared"].batch()

    def closure() -> Tensor:
        return nn.functional.cross_entropy(model(inputs), classes)

    expected = torch.autograd.grad(closure(), list(model.parameters()))
    loss = closure()
    if kind == "alone":
        gradient_shift(Objective(model, closure), torch.optim.Adam(model.parameters()))
    else:
        Step(Objective(model, closure)).measure()
    loss.backward()
    assert_identical(list(expected), [p.grad for p in model.parameters()])


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("warm", [0, 2])
def test_a_step_of_its_own_is_taken_back(optimizer_name: str, warm: int) -> None:
    """Also where the optimizer had no state yet, and `.grad` was None."""
    specimen = SPECIMENS["dropout_and_batch_norm"]
    model, optimizer = rebuilt.trained(specimen, OPTIMIZERS[optimizer_name], steps=warm)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert schedule.get_last_lr()
    before, attributes = state_of(model, optimizer), dict(vars(optimizer))
    held = [[(key, id(value)) for key, value in state.items()] for state in optimizer.state.values()]
    places = [p.data_ptr() for p in model.parameters()]
    grads = [p.grad for p in model.parameters()]
    assert gradient_shift(objective(specimen, model), optimizer)[-1].l2 > 0
    assert_identical(before, state_of(model, optimizer))
    assert vars(optimizer) == attributes
    assert held == [[(key, id(value)) for key, value in state.items()] for state in optimizer.state.values()]
    assert len(optimizer.state) == (0 if warm == 0 or optimizer_name == "sgd" else len(places))
    assert places == [p.data_ptr() for p in model.parameters()]
    assert all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))
    assert all((grad is None) == (warm == 0) for grad in grads)


class Restless(torch.optim.SGD):
    """Changes its own rate, keeps nested state, draws random numbers, and may fail halfway."""

    def __init__(self, parameters: Any, *, fails: bool) -> None:
        super().__init__(parameters, lr=torch.tensor(0.1))
        self.fails = fails
        self.history = [torch.zeros(2)]
        self.taken = 0

    def step(self, closure: Any = None) -> None:
        super().step(closure)
        with torch.no_grad():
            for group in self.param_groups:
                group["lr"].mul_(0.5)
                group["new"] = 1
                for parameter in group["params"]:
                    parameter.add_(0.01 * torch.randn_like(parameter))
                    self.state[parameter].setdefault("nested", {"seen": []})["seen"].append(1)
        self.history[0].add_(1)
        self.history.append(torch.ones(1))
        self.taken += 1
        if self.fails:
            raise ArithmeticError("halfway")


@pytest.mark.parametrize("fails", [False, True])
def test_an_optimizer_that_changes_much_or_fails_is_put_back(fails: bool) -> None:
    specimen = SPECIMENS["convolutional"]
    torch.manual_seed(0)
    model = specimen.build()
    optimizer = Restless(model.parameters(), fails=False)
    train_a_step(specimen, model, optimizer)
    optimizer.fails = fails
    before, rate = state_of(model, optimizer), optimizer.param_groups[0]["lr"]
    if fails:
        with pytest.raises(ArithmeticError, match="halfway"):
            gradient_shift(objective(specimen, model), optimizer)
    else:
        assert gradient_shift(objective(specimen, model), optimizer)[-1].l2 > 0
    assert_identical(before, state_of(model, optimizer))
    assert optimizer.param_groups[0]["lr"] is rate
    assert (optimizer.taken, len(optimizer.history), optimizer.history[0].tolist()) == (1, 2, [1, 1])


def test_parameters_that_the_loss_does_not_reach_are_not_decayed() -> None:
    """As in a training, whose `backward` leaves their `.grad` None."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].bias.data.fill_(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.5)
    inputs = torch.ones(3, 4)
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.extend([model[0].bias.detach().clone(), model[0].bias.grad]))

    def without_the_first_bias() -> Tensor:
        hidden = nn.functional.linear(inputs, model[0].weight)
        return model[2](model[1](hidden)).square().sum()

    gradient_shift(Objective(model, without_the_first_bias), optimizer)
    assert seen[0].tolist() == [1, 1, 1, 1]
    assert seen[1] is None


def test_sparse_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Flatten(), nn.Linear(8, 2))
    inputs = torch.tensor([[1, 2], [2, 2]])
    given = Objective(model, lambda: model(inputs).square().sum())
    found = gradient_shift(given, torch.optim.SparseAdam([model[0].weight], lr=0.1))
    assert [shift.layer for shift in found] == ["0", "2"]
    assert found[1].l2 > 0


class ReadsAhead(torch.optim.SGD):
    def step(self, closure: Any) -> None:
        closure()


@pytest.mark.parametrize("make", [torch.optim.LBFGS, ReadsAhead])
def test_an_optimizer_that_needs_a_closure(make: Any) -> None:
    """Its own step can be measured by a `Step` around it."""
    specimen = SPECIMENS["shared"]
    torch.manual_seed(0)
    model = specimen.build()
    optimizer = make(model.parameters(), lr=0.1)
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(MeasurementError, match=f"{make.__name__}.step needs a closure.*make a Step"):
        gradient_shift(objective(specimen, model), optimizer)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = specimen.loss(model)
        loss.backward()
        return loss

    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    step = Step(objective(specimen, model))
    optimizer.step(closure)
    assert_equal(step.measure(), rebuilt.shifts(specimen, before, model.state_dict(), drawn))


def test_an_optimizer_of_another_model() -> None:
    specimen = SPECIMENS["shared"]
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(MeasurementError, match="SGD has none of the parameters of Shared"):
        gradient_shift(objective(specimen, specimen.build()), optimizer)


def test_an_optimizer_of_a_part_moves_that_part_alone() -> None:
    """Layers behind it shift; what the optimizer holds of other models stays where it is."""
    specimen = SPECIMENS["convolutional"]
    torch.manual_seed(0)
    model, other = specimen.build(), nn.Linear(2, 2)
    other.weight.grad = torch.ones(2, 2)
    value = other.weight.detach().clone()
    seen = []
    optimizer = torch.optim.SGD([*model[3].parameters(), *other.parameters()], lr=0.1)
    optimizer.register_step_post_hook(lambda *_: seen.append(torch.equal(other.weight, value)))
    shifted = {shift.layer: shift.l2 > 0 for shift in gradient_shift(objective(specimen, model), optimizer)}
    assert shifted == {"0": False, "1": False, "3": False, "4": True, "7": True}
    assert seen == [True]
    assert other.weight.grad.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("change", ["gone", "exchanged", "new", "resized", "pruned"])
def test_a_model_that_has_other_parameters_after_the_step(change: str) -> None:
    specimen = SPECIMENS["shared"]
    model = specimen.build()
    step = Step(objective(specimen, model))
    if change == "gone":
        del model.scale
    elif change == "exchanged":
        model.out.weight = nn.Parameter(model.out.weight.detach().clone())
    elif change == "new":
        model.out.added = nn.Linear(2, 2)
    elif change == "resized":
        model.out.weight.data = torch.zeros(4, 6)
    else:
        prune.l1_unstructured(model.out, "weight", 0.5)
    with pytest.raises(MeasurementError, match=r"parameters are others.*(scale|out)\.(weight|added).*another Step"):
        step.measure()


def test_layers_that_froze_and_frozen_ones_that_change() -> None:
    specimen = SPECIMENS["backwards"]
    model, optimizer = rebuilt.trained(specimen, OPTIMIZERS["sgd"])
    before, drawn = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    step = Step(objective(specimen, model))
    train_a_step(specimen, model, optimizer)
    trained_state = copy.deepcopy(model.state_dict())
    model.frozen.weight.data.add_(1)  # As a moving average of other weights would.
    assert_equal(step.measure(), rebuilt.shifts(specimen, before, trained_state, drawn))
    model.last.requires_grad_(False)
    with pytest.raises(MeasurementError, match="last froze"):
        step.measure()


def test_gradients_that_are_zero_or_not_finite() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for factor in (0.0, math.inf, math.nan):
        given = Objective(model, lambda factor=factor: factor * model(torch.ones(1, 2)).square().sum())
        for shift in gradient_shift(given, optimizer):
            assert math.isnan(shift.cosine)
            numbers = [shift.norm, shift.norm_after, shift.l2]
            assert numbers == [0, 0, 0] if factor == 0 else not np.isfinite(numbers).any()
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_what_cannot_be_measured_says_why() -> None:
    specimen = SPECIMENS["shared"]
    model = specimen.build()
    with pytest.raises(SelectionError, match=r"no layer 'cell'; did you mean cell\.0"):
        Step(objective(specimen, model), layers="cell")
    with pytest.raises(MeasurementError, match="counted is 'biases': expected 'all' or 'weights'"):
        Step(objective(specimen, model), counted="biases")  # type: ignore[arg-type]
    with pytest.raises(MeasurementError, match="Shared has no parameter that requires a gradient"):
        Step(objective(specimen, model.requires_grad_(False)))
