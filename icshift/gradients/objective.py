"""A loss as a function of the parameters alone: the same examples, draws and buffers whenever it is computed.

Measurements compute a loss many times, at parameters near those of the training. Every time its closures start from the
buffers, the attributes of modules, the random states and autocast as they were when the objective was made, so that
dropout drops the same units and nothing that a forward leaves behind reaches the next one, or the training. That goes
for other models that a closure calls, too: a GAN's discriminator. What is compiled runs as it was written. `.grad` is
never touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.errors import MeasurementError
from icshift.gradients.frozen_state import FrozenState

Closure = Callable[[], Tensor]
"""A function without arguments that returns the loss of fixed examples, a tensor of one number."""


class Objective:
    """A loss as a function of the model's parameters: the mean of what `closures` return, one closure a batch.

    `weights`, one a closure, make it a weighted mean (numbers of examples, for batches of unequal size). Training or
    eval mode is the caller's: batch normalisation in training mode makes the loss a function of all examples of a
    batch together. Raises `MeasurementError` for a model that is not initialised yet and for weights that do not fit;
    every evaluation raises it where a closure returns no loss, or calls `backward()` itself.

    >>> import icshift, torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> model.weight.data = torch.tensor([[1.0, 2.0]])
    >>> inputs, target = torch.tensor([[1.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0], [0.0]])
    >>> objective = icshift.Objective(model, lambda: (model(inputs) - target).square().mean())
    >>> objective.loss()
    4.0
    >>> objective.gradient([model.weight])
    [tensor([[2., 4.]])]
    """

    def __init__(
        self, model: nn.Module, closures: Closure | Sequence[Closure], weights: Sequence[float] | None = None
    ) -> None:
        self.model = model
        self._closures = [closures] if callable(closures) else list(closures)
        self._weights = _shares(weights, len(self._closures))
        if lazy := [name for name, parameter in model.named_parameters() if is_lazy(parameter)]:
            raise MeasurementError(
                f"{', '.join(lazy[:8])} are not initialised yet: send a batch through the model first"
            )
        self._state = FrozenState(model)

    @property
    def others(self) -> list[nn.Module]:
        """Models besides `model` that the closures called, in order; known after the first evaluation."""
        return list(self._state.others)

    def loss(self) -> float:
        """Returns the loss at the parameters as they are; no graph is built."""
        with torch.no_grad():
            return float(self._sum(lambda loss: [loss.detach().double()], needs_gradients=False)[0])

    def gradient(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Returns the gradient of the loss, a tensor shaped like each parameter; zeros for one without influence."""
        return self.loss_and_gradient(parameters)[1]

    def loss_and_gradient(self, parameters: Sequence[nn.Parameter]) -> tuple[float, list[Tensor]]:
        """Returns the loss, and its gradient as `gradient` gives it, both from one forward of every closure."""
        loss, *gradient = self.mean(lambda loss: [loss.detach().double(), *_dense_gradients(loss, parameters)])
        return float(loss), gradient

    def confirm(self, loss: float) -> None:
        """Raises `MeasurementError` unless the loss at the parameters as they are is this one, to 0.1 % or 1e-6.

        A closure that draws its batch, or looks up one that a loop has replaced, computes another loss every time.
        """
        now = float(self.mean(lambda loss: [loss.detach().double()])[0])
        both_nan = math.isnan(now) and math.isnan(loss)
        if not both_nan and not math.isclose(now, loss, rel_tol=_ROUNDING, abs_tol=1e-6):
            raise MeasurementError(
                f"the closure's loss was {loss:.6g}, and is {now:.6g} at the same parameters: expected the same "
                "examples and draws at every call; take the batch outside of it and bind it: lambda x=x, y=y: ..."
            )

    def mean(self, compute: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
        """Returns the weighted mean, over closures, of the tensors that `compute` makes of a loss whose graph is built.

        `compute` is called once a closure, and returns equally many tensors of equal shapes every time.
        """
        with torch.enable_grad():
            return self._sum(compute, needs_gradients=True)

    def _sum(self, compute: Callable[[Tensor], Sequence[Tensor]], *, needs_gradients: bool) -> list[Tensor]:
        total: list[Tensor] = []
        with self._state.restored():
            for closure, weight in zip(self._closures, self._weights, strict=True):
                with torch.set_grad_enabled(needs_gradients), _grads_aside(self.model):
                    terms = compute(_checked(closure(), needs_gradients=needs_gradients))
                terms = [weight * term.detach() for term in terms]
                total = [a + b for a, b in zip(total, terms, strict=True)] if total else terms
        return total


@contextmanager
def with_parameters(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Gives the parameters other values for the block; the values have the parameters' shapes, devices and types.

    The tensors are exchanged, not written to: what a training has computed already can still go backward afterwards,
    and the parameters come back bit for bit.
    """
    before = [parameter.data for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.data = value
        yield
    finally:
        for parameter, data in zip(parameters, before, strict=True):
            parameter.data = data


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns parameters that require a gradient, by name, shared ones once. Raises `MeasurementError` for none."""
    training = {name: p for name, p in model.named_parameters() if p.requires_grad and not is_lazy(p)}
    if not training:
        raise MeasurementError(f"{type(model).__name__} has no parameter that requires a gradient")
    return training


def norm(tensors: Sequence[Tensor]) -> float:
    """Returns the Euclidean norm of all entries together, in double precision."""
    return math.sqrt(dot(tensors, tensors))


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Returns the inner product of all entries together, in double precision."""
    return float(sum(float((x.detach().double() * y.detach().double()).sum()) for x, y in zip(a, b, strict=True)))


def gradients_or_none(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Returns the gradient of a loss by each parameter, None for one that is not in its graph; `.grad` stays as it is.

    Raises `MeasurementError` where autograd cannot compute it, and for reentrant checkpoints, which hide parameters.
    """
    if not parameters:
        return []
    try:
        gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    except RuntimeError as error:
        raise MeasurementError(f"the gradients of the closure's loss cannot be computed: {error}") from error
    if any(gradient is None for gradient in gradients) and _HIDES in _operations(loss):
        raise MeasurementError("reentrant checkpoints hide parameters from the loss: give them use_reentrant=False")
    return list(gradients)


def _dense_gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    gradients = gradients_or_none(loss, parameters)
    dense = [g.to_dense() if g is not None and g.is_sparse else g for g in gradients]  # Sparse embeddings'.
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, dense, strict=True)]


_HIDES = "CheckpointFunctionBackward"
"""The operation of a reentrant checkpoint: parameters used within are not in the graph of the loss."""

_ROUNDING = 1e-3
"""Relative difference of losses of the same examples that lower precisions can make."""


def _operations(loss: Tensor) -> set[str]:
    """Returns the names of the operations in the graph of a loss."""
    waiting, seen = [loss.grad_fn], {None, loss.grad_fn}
    while waiting:
        node = waiting.pop()
        unseen = {function for function, _ in node.next_functions} - seen if node is not None else set()
        seen |= unseen
        waiting += unseen
    return {node.name() for node in seen if node is not None}


def _shares(weights: Sequence[float] | None, closures: int) -> list[float]:
    """Returns one weight for each of the closures, made to sum to 1; equal ones for None."""
    sizes = np.ones(closures) if weights is None else np.asarray(weights, float)
    if not closures:
        raise MeasurementError("there is no closure: expected at least one that computes a loss")
    if sizes.shape != (closures,) or not np.isfinite(sizes).all() or (sizes < 0).any() or not sizes.any():
        raise MeasurementError(f"weights are {sizes.tolist()}: expected {closures}, none negative, their sum above 0")
    return [float(share) for share in sizes / sizes.sum()]


@contextmanager
def _grads_aside(model: nn.Module) -> Iterator[None]:
    """Keeps `.grad` out of the reach of what runs within; raises `MeasurementError` if that goes backward."""
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in before:
        parameter.grad = None
    try:
        yield
    finally:
        went_backward = any(parameter.grad is not None for parameter, _ in before)
        for parameter, gradient in before:
            parameter.grad = gradient
        if went_backward:
            raise MeasurementError(
                "the closure calls backward(): expected one that computes the loss and gives it back"
            )


def _checked(loss: object, *, needs_gradients: bool) -> Tensor:
    """Returns the loss of a closure as a tensor without dimensions. Raises `MeasurementError` if it is no loss."""
    if not isinstance(loss, Tensor):
        raise MeasurementError(f"the closure gave {type(loss).__name__}: expected the loss, a tensor of one number")
    if loss.numel() != 1:
        raise MeasurementError(f"the closure gave a tensor of shape {list(loss.shape)}: expected one number")
    if needs_gradients and not loss.requires_grad:
        raise MeasurementError(
            "the closure's loss depends on no parameter: compute it with the model and detach nothing"
        )
    return loss.reshape(())
