"""Gradient shift: how much a layer's gradient changes because the layers before it took their step.

Santurkar et al. (2018), definition 2.1. G is the gradient of layer i at step t; G' is the gradient at the same point of
the same loss, but with the layers before i where the step took them. The definition is of gradients, not
of distributions: the two kinds of shift can disagree, and are never merged.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from icshift.errors import MeasurementError
from icshift.gradients.layers import Counted, Layer, choose, in_order
from icshift.gradients.objective import Objective, dot, gradients, moved, norm, trainable
from icshift.model.undisturbed import undisturbed


@dataclass(frozen=True)
class LayerShift:
    """The gradient shift of one layer at one step.

    `parameters`: how many numbers G has. `l2`: ‖G − G'‖₂, 0 where nothing shifts; `cosine` of the angle between G and
    G', 1 where nothing shifts, NaN where either is zero; `norm` and `norm_after`: ‖G‖₂ and ‖G'‖₂. Where gradients are
    not finite, `cosine` is NaN, and the others are infinite or NaN.
    """

    layer: str
    parameters: int
    l2: float
    cosine: float
    norm: float
    norm_after: float


class Step:
    """A step of a training to be taken: made before it, measured after it.

    The step is whatever happens to the parameters in between: momentum, weight decay, clipping, a step that was skipped
    are in it. `layers` are names or globs, None for all; `counted` says which parameters count as a layer's: the
    others, all that are frozen, and those of other models that the closures call, stay where they were. It keeps a copy
    of the parameters, and costs a forward and a backward at once; when it is measured, as much for every layer but the
    first, and a forward that sees whether the loss is still the same function.
    """

    def __init__(
        self, objective: Objective, *, layers: str | Iterable[str] | None = None, counted: Counted = "all"
    ) -> None:
        model = objective.model
        self._objective = objective
        self._known = dict(model.named_parameters())
        self._before = {p: p.detach().clone() for p in self._known.values()}
        self._modes = [(module, module.training) for module in model.modules()]
        found: dict[nn.Parameter, Tensor] = {}

        def forward() -> None:
            parameters = list(trainable(model).values())
            self.loss, computed = objective.loss_and_gradient(parameters)
            found.update(zip(parameters, computed, strict=True))

        self._layers = in_order(model, forward, counted)
        self._chosen = choose(self._layers, layers)
        elsewhere = {p for other in objective.others for p in other.parameters() if p.requires_grad and not is_lazy(p)}
        self._before |= {p: p.detach().clone() for p in elsewhere if p not in self._before}
        self._gradients = {layer.name: [found[p] for p in layer.parameters] for layer in self._chosen}

    @property
    def layers(self) -> list[str]:
        """Names of the layers that are measured, in the order in which a forward calls them."""
        return [layer.name for layer in self._chosen]

    def measure(self) -> list[LayerShift]:
        """The shift of every chosen layer by what the parameters are now; leaves all as it is.

        Raises `MeasurementError` where the model has other parameters than before the step, or the closures compute
        another loss at those before it: of another batch.
        """
        self._check()
        with undisturbed(self._objective.model):
            for module, training in self._modes:
                module.training = training
            with moved(list(self._before), list(self._before.values())):
                self._objective.confirm(self.loss)
            return [_shift(layer, self._gradients[layer.name], self._after(layer)) for layer in self._chosen]

    def _after(self, layer: Layer) -> list[Tensor]:
        """G' of a layer; the first has none before it, and so G itself."""
        earlier = {p for one in self._layers[: self._layers.index(layer)] for p in one.parameters}
        if not earlier:
            return self._gradients[layer.name]
        with moved(list(self._before), [p.data if p in earlier else old for p, old in self._before.items()]):
            return self._objective.gradient(layer.parameters)

    def _check(self) -> None:
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
    """The gradient shift by the step that the optimizer would take now, with the objective's gradients.

    The step is a real one, hooks of the optimizer included; parameters, `.grad` and the optimizer are put back
    afterwards. `layers` and `counted` are those of `Step`. Raises `MeasurementError` for an optimizer that
    needs a closure (make a `Step` around its own step), or that has none of the model's parameters.
    """
    model = objective.model
    name = type(optimizer).__name__
    if _needs_more(optimizer):
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
    arriving = dict(zip(parameters, _as_backward(objective, parameters), strict=True))
    with _stepped(optimizer, {**dict.fromkeys(held), **arriving}, model):
        return step.measure()


def _shift(layer: Layer, before: Sequence[Tensor], after: Sequence[Tensor]) -> LayerShift:
    l2 = norm([a.double() - b.double() for a, b in zip(before, after, strict=True)])
    lengths = norm(before), norm(after)
    scale = lengths[0] * lengths[1]
    cosine = min(max(dot(before, after) / scale, -1.0), 1.0) if 0 < scale < math.inf else math.nan
    if l2 == 0 and scale > 0:
        cosine = 1.0  # Whatever rounding does.
    return LayerShift(layer.name, sum(p.numel() for p in layer.parameters), l2, cosine, *lengths)


def _needs_more(optimizer: Optimizer) -> bool:
    """Whether a step takes arguments that have no default (the class is asked: schedulers wrap the method)."""
    _, *arguments = inspect.signature(type(optimizer).step).parameters.values()
    return any(a.default is a.empty and a.kind not in (a.VAR_POSITIONAL, a.VAR_KEYWORD) for a in arguments)


def _as_backward(objective: Objective, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Gradients as `backward` leaves them: None for what the loss does not depend on, so that no step decays it."""
    reached = set[nn.Parameter]()

    def of(loss: Tensor) -> list[Tensor]:
        found = gradients(loss, parameters)
        reached.update(p for p, gradient in zip(parameters, found, strict=True) if gradient is not None)
        return [p.new_zeros(p.shape) if g is None else g for p, g in zip(parameters, found, strict=True)]

    return [g if p in reached else None for p, g in zip(parameters, objective.mean(of), strict=True)]


@contextmanager
def _stepped(optimizer: Optimizer, arriving: dict[nn.Parameter, Tensor | None], model: nn.Module) -> Iterator[None]:
    """Within, the optimizer has taken its step with these gradients; afterwards it has not."""
    with ExitStack() as back:
        for parameter, gradient in arriving.items():
            # A forward of the training may still wait for its backward, which asks whether parameters were written to.
            back.enter_context(_unsafe_preserve_version_counter(parameter))
            back.callback(setattr, parameter, "grad", parameter.grad)
            parameter.grad = gradient
        _keep(optimizer, {}, back)
        with undisturbed(model):
            optimizer.step()
        yield


def _keep(value: object, kept: dict[int, object], back: ExitStack) -> None:
    """Has `back` restore an optimizer's attributes, what is in dictionaries and lists, and tensors bit for bit.

    Tensors work on copies of their data until then, so that their own are never written to.
    """
    if isinstance(value, Optimizer):
        value = vars(value)
    if id(value) in kept:
        return
    kept[id(value)] = value
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
        _keep(child, kept, back)


def _refill(filled: dict[object, object], before: dict[object, object]) -> None:
    filled.clear()
    filled.update(before)
