"""Gradient shift: how much a layer's gradient changes because the layers before it took their step.

Santurkar et al. (2018), definition 2.1. G is the gradient of the loss of one batch by the parameters of layer i, before
a step; G' is the gradient of the same loss by the same parameters, but with the layers before i where the step took
them. The definition is of gradients, not of distributions: the two kinds of shift can disagree, and are never merged.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from icshift.errors import MeasurementError
from icshift.gradients.layers import Counted, LayerParameters, in_call_order, select_layers
from icshift.gradients.objective import Objective, dot, gradients_or_none, norm, trainable, with_parameters
from icshift.model.torch_private import written_unnoticed
from icshift.model.undisturbed import undisturbed


@dataclass(frozen=True)
class LayerShift:
    """The gradient shift of one layer at one step; `layer` is the layer's name.

    `parameters`: how many numbers G has. `l2`: ‖G − G'‖₂, 0 where nothing shifts; `cosine` of the angle between G and
    G', 1 where nothing shifts, NaN where either is zero; `norm` and `norm_after`: ‖G‖₂ and ‖G'‖₂. Lengths are in units
    of the gradient (loss over parameter), so that they compare between layers only after division by `norm`, as
    `relative` does. Both depend on the batch: of fewer examples, G has more noise and is longer, and the step that it
    makes is another. Where gradients are not finite, `cosine` is NaN, and the others are infinite or NaN.

    >>> shift = LayerShift("fc2", parameters=4, l2=1.5, cosine=0.8, norm=3.0, norm_after=2.0)
    >>> shift.relative
    0.5
    """

    layer: str
    parameters: int
    l2: float
    cosine: float
    norm: float
    norm_after: float

    @property
    def relative(self) -> float:
        """‖G − G'‖₂ / ‖G‖₂, without a unit; NaN where G is zero."""
        return self.l2 / self.norm if self.norm > 0 else math.nan


class Step:
    """The gradient shift that a step of a training causes: make a `Step` before the step, and `measure` it after.

    The step is whatever happens to the parameters in between: momentum, weight decay, clipping, a step that was skipped
    are in it. `layers` are names or globs, None for all; `counted` says which parameters count as a layer's: the
    others, all that are frozen, and those of other models that the closures call, stay where they were. A copy of the
    parameters is kept. Making one costs a forward and a backward; measuring as much for every layer but the first, and
    a forward that checks that the loss is still the same function. Raises `SelectionError` for layers that are not
    there, `MeasurementError` where the closure gives no loss.

    >>> import icshift, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    >>> for layer in model:
    ...     _ = torch.nn.init.ones_(layer.weight)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    >>> closure = lambda: model(torch.ones(1, 1)).square().mean()
    >>> step = icshift.Step(icshift.Objective(model, closure))
    >>> closure().backward()
    >>> optimizer.step()  # Both weights go from 1 to 0.5.
    >>> [(shift.layer, shift.norm, shift.norm_after, shift.l2) for shift in step.measure()]
    [('0', 2.0, 2.0, 0.0), ('1', 2.0, 0.5, 1.5)]
    """

    def __init__(
        self, objective: Objective, *, layers: str | Iterable[str] | None = None, counted: Counted = "all"
    ) -> None:
        model = objective.model
        self._objective = objective
        self._known = dict(model.named_parameters())
        self._before = {p: p.detach().clone() for p in self._known.values()}
        self._modes = [(module, module.training) for module in model.modules()]
        gradients: dict[nn.Parameter, Tensor] = {}

        def forward() -> None:
            parameters = list(trainable(model).values())
            self.loss, computed = objective.loss_and_gradient(parameters)
            gradients.update(zip(parameters, computed, strict=True))

        self._layers = in_call_order(model, forward, counted)
        self._chosen = select_layers(self._layers, layers)
        elsewhere = {p for other in objective.others for p in other.parameters() if p.requires_grad and not is_lazy(p)}
        self._before |= {p: p.detach().clone() for p in elsewhere if p not in self._before}
        self._gradients = {layer.name: [gradients[p] for p in layer.parameters] for layer in self._chosen}

    @property
    def layers(self) -> list[str]:
        """Names of the layers that are measured, in the order in which a forward calls them."""
        return [layer.name for layer in self._chosen]

    def measure(self) -> list[LayerShift]:
        """Returns the shift of every chosen layer, in the order of `layers`, by the step to the parameters of now.

        Nothing is changed. Raises `MeasurementError` where the model has other parameters than before the step, or the
        closures compute another loss at those before it: of another batch.
        """
        self._check()
        with undisturbed(self._objective.model):
            for module, training in self._modes:
                module.training = training
            with with_parameters(list(self._before), list(self._before.values())):
                self._objective.confirm(self.loss)
            return [_shift(layer, self._gradients[layer.name], self._after(layer)) for layer in self._chosen]

    def _after(self, layer: LayerParameters) -> list[Tensor]:
        """G' of a layer, a tensor a parameter; of the first, which has none before it, G itself."""
        earlier = {p for before in self._layers[: self._layers.index(layer)] for p in before.parameters}
        if not earlier:
            return self._gradients[layer.name]
        with with_parameters(list(self._before), [p.data if p in earlier else old for p, old in self._before.items()]):
            return self._objective.gradient(layer.parameters)

    def _check(self) -> None:
        """Raises `MeasurementError` where the parameters of now are not those of before with other values."""
        now = dict(self._objective.model.named_parameters())
        changed = [name for name in self._known.keys() | now.keys() if not self._same(name, now.get(name))]
        if changed:
            raise MeasurementError(
                f"the model's parameters are others than before the step: {', '.join(sorted(changed)[:8])} came, went, "
                "or changed shape, type or device; make another Step after such a change"
            )
        if frozen := [layer.name for layer in self._chosen if not all(p.requires_grad for p in layer.parameters)]:
            raise MeasurementError(f"{', '.join(frozen[:8])} froze since the Step was made; make another one")

    def _same(self, name: str, now: nn.Parameter | None) -> bool:
        if now is None or now is not self._known.get(name):
            return False
        before = self._before[now]
        return (now.shape, now.dtype, now.device) == (before.shape, before.dtype, before.device)


def gradient_shift(
    objective: Objective,
    optimizer: Optimizer,
    *,
    layers: str | Iterable[str] | None = None,
    counted: Counted = "all",
) -> list[LayerShift]:
    """The gradient shift of each layer by the step that the optimizer would take now, with the objective's gradients.

    Returns one `LayerShift` per layer, in the order in which a forward calls them. The step is a real one, hooks of the
    optimizer included; parameters, `.grad` and the optimizer are put back afterwards. `layers` and `counted` are those
    of `Step`. Raises `MeasurementError` for an optimizer that needs a closure (make a `Step` around its own step), or
    that has none of the model's parameters.

    >>> import icshift, torch
    >>> model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False))
    >>> for layer in model:
    ...     _ = torch.nn.init.ones_(layer.weight)
    >>> objective = icshift.Objective(model, lambda: model(torch.ones(1, 1)).square().mean())
    >>> shifts = icshift.gradient_shift(objective, torch.optim.SGD(model.parameters(), lr=0.25))
    >>> [(shift.layer, shift.l2, shift.cosine) for shift in shifts]
    [('0', 0.0, 1.0), ('1', 1.5, 1.0)]
    >>> model[0].weight.item()
    1.0
    """
    model = objective.model
    name = type(optimizer).__name__
    if _needs_closure(optimizer):
        raise MeasurementError(
            f"{name}.step needs a closure: it computes gradients at points of its own choice, so that those at hand "
            "do not make its step; make a Step, let the training step, and measure it"
        )
    held = [p for group in optimizer.param_groups for p in group["params"]]
    parameters = list(trainable(model).values())
    if not set(held) & set(parameters):
        raise MeasurementError(
            f"{name} has none of the parameters of {type(model).__name__} that train: give the optimizer that has"
        )
    step = Step(objective, layers=layers, counted=counted)
    gradients = dict(zip(parameters, _as_backward(objective, parameters), strict=True))
    with _after_step(optimizer, {**dict.fromkeys(held), **gradients}, model):
        return step.measure()


def _shift(layer: LayerParameters, before: Sequence[Tensor], after: Sequence[Tensor]) -> LayerShift:
    """Returns the numbers about G (`before`) and G' (`after`), both with one tensor for each parameter of the layer."""
    l2 = norm([a.double() - b.double() for a, b in zip(before, after, strict=True)])
    lengths = norm(before), norm(after)
    scale = lengths[0] * lengths[1]
    cosine = min(max(dot(before, after) / scale, -1.0), 1.0) if 0 < scale < math.inf else math.nan
    if l2 == 0 and scale > 0:
        cosine = 1.0  # Whatever rounding does.
    return LayerShift(layer.name, sum(p.numel() for p in layer.parameters), l2, cosine, *lengths)


def _needs_closure(optimizer: Optimizer) -> bool:
    """Returns whether `step` takes an argument that has no default (the class is asked: schedulers wrap the method)."""
    _, *arguments = inspect.signature(type(optimizer).step).parameters.values()
    return any(a.default is a.empty and a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD) for a in arguments)


def _as_backward(objective: Objective, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Returns gradients as `backward` leaves them: None for parameters without influence, which no step decays."""
    reached = set[nn.Parameter]()

    def with_zeros(loss: Tensor) -> list[Tensor]:
        gradients = gradients_or_none(loss, parameters)
        reached.update(p for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None)
        return [p.new_zeros(p.shape) if g is None else g for p, g in zip(parameters, gradients, strict=True)]

    return [g if p in reached else None for p, g in zip(parameters, objective.mean(with_zeros), strict=True)]


@contextmanager
def _after_step(optimizer: Optimizer, gradients: dict[nn.Parameter, Tensor | None], model: nn.Module) -> Iterator[None]:
    """Takes the optimizer's step with these gradients for the block, and takes it back afterwards."""
    with ExitStack() as back:
        for parameter, gradient in gradients.items():
            # A forward of the training may still wait for its backward, which asks whether parameters were written to.
            back.enter_context(written_unnoticed(parameter))
            back.callback(setattr, parameter, "grad", parameter.grad)
            parameter.grad = gradient
        _restore_later(optimizer, {}, back)
        with undisturbed(model):
            optimizer.step()
        yield


def _restore_later(value: object, noted: dict[int, object], back: ExitStack) -> None:
    """Has `back` restore an optimizer's attributes, contents of dictionaries and lists, and tensors bit for bit.

    `noted` are the objects that `back` restores already, by their id. Tensors work on copies of their data until then,
    so that their own are never written to.
    """
    if isinstance(value, Optimizer):
        value = vars(value)
    if id(value) in noted:
        return
    noted[id(value)] = value
    children: list[object] = []
    if isinstance(value, Tensor):
        back.callback(setattr, value, "data", value.data)
        value.data = value.data.clone()
    elif isinstance(value, dict):
        back.callback(_refill, value, dict(value))
        children = list(value.values())
    elif isinstance(value, (list, tuple)):
        children = list(value)
        if isinstance(value, list):
            back.callback(value.__setitem__, slice(None), list(value))
    for child in children:
        _restore_later(child, noted, back)


def _refill(filled: dict[object, object], before: dict[object, object]) -> None:
    filled.clear()
    filled.update(before)
