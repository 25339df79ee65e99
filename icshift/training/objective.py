"""A loss as a function of the parameters alone: the same examples, draws and buffers whenever it is computed.

Measurements compute a loss many times, at parameters near those of the training. Every time its closures start from the
buffers and the random states that were there when the objective was made, so that dropout drops the same units and
nothing that a forward leaves behind reaches the next one, or the training. `.grad` is never touched.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.errors import MeasurementError
from icshift.training.undisturbed import undisturbed

Closure = Callable[[], Tensor]
"""Computes the loss of some fixed examples with the model as it is; a function without arguments."""


class Objective:
    """The mean of what `closures` give, weighted by `weights` (equal ones by default).

    The mode of the model is for the closures, or for the caller: batch normalisation in training mode makes the loss
    a function of all examples of a closure's batch together. Raises `MeasurementError` where a closure gives no loss.
    """

    def __init__(
        self, model: nn.Module, closures: Closure | Sequence[Closure], weights: Sequence[float] | None = None
    ) -> None:
        self.model = model
        self._closures = [closures] if callable(closures) else list(closures)
        sizes = np.ones(len(self._closures)) if weights is None else np.asarray(weights, float)
        self._weights = [float(weight) for weight in sizes / sizes.sum()]
        self._moment = _Moment(model)

    def loss(self) -> float:
        """The loss at the parameters as they are; no graph is built."""
        with torch.no_grad():
            return float(self._sum(lambda loss: [loss.detach().double()], needs_gradients=False)[0])

    def gradient(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """Gradients of the loss, shaped like the parameters; zeros for those that it does not depend on."""
        return self.loss_and_gradient(parameters)[1]

    def loss_and_gradient(self, parameters: Sequence[nn.Parameter]) -> tuple[float, list[Tensor]]:
        """Both from one forward."""
        loss, *gradients = self.mean(lambda loss: [loss.detach().double(), *_gradients(loss, parameters)])
        return float(loss), gradients

    def mean(self, of: Callable[[Tensor], Sequence[Tensor]]) -> list[Tensor]:
        """The weighted mean over closures of the tensors that `of` makes of a loss and its graph."""
        with torch.enable_grad():
            return self._sum(of, needs_gradients=True)

    def _sum(self, of: Callable[[Tensor], Sequence[Tensor]], *, needs_gradients: bool) -> list[Tensor]:
        total: list[Tensor] = []
        with self._moment.relived(self.model):
            for closure, weight in zip(self._closures, self._weights, strict=True):
                with torch.set_grad_enabled(needs_gradients):
                    terms = of(_checked(closure(), needs_gradients=needs_gradients))
                terms = [weight * term.detach() for term in terms]
                total = [a + b for a, b in zip(total, terms, strict=True)] if total else terms
        return total


@contextmanager
def moved(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> Iterator[None]:
    """Gives the parameters other values within.

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
    """The parameters that gradients reach, by name; shared ones once. Raises `MeasurementError` if there is none."""
    found = {name: p for name, p in model.named_parameters() if p.requires_grad and not is_lazy(p)}
    if not found:
        raise MeasurementError(f"{type(model).__name__} has no parameter that requires a gradient")
    return found


def norm(tensors: Sequence[Tensor]) -> float:
    """Euclidean norm of all entries together, in double precision."""
    return float(torch.stack([tensor.detach().double().norm() for tensor in tensors]).norm()) if tensors else 0.0


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Inner product of all entries together, in double precision."""
    return float(sum((x.detach().double() * y.detach().double()).sum() for x, y in zip(a, b, strict=True)))


def _gradients(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(parameters), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def _checked(loss: object, *, needs_gradients: bool) -> Tensor:
    if not isinstance(loss, Tensor):
        raise MeasurementError(f"the closure gave {type(loss).__name__}: expected the loss, a tensor of one number")
    if loss.numel() != 1:
        raise MeasurementError(f"the closure gave a tensor of shape {list(loss.shape)}: expected one number")
    if needs_gradients and not loss.requires_grad:
        raise MeasurementError(
            "the closure's loss depends on no parameter: compute it with the model and detach nothing"
        )
    return loss.reshape(())


class _Moment:
    """Buffers and random states as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [(b, b.detach().clone()) for b in model.buffers() if not is_lazy(b)]
        self._torch = torch.get_rng_state()
        self._devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._python, self._numpy = random.getstate(), np.random.get_state()

    @contextmanager
    def relived(self, model: nn.Module) -> Iterator[None]:
        """Puts the model there within, and back where it was afterwards."""
        with undisturbed(model):
            for buffer, value in self._buffers:
                buffer.detach().copy_(value)
            torch.set_rng_state(self._torch)
            if self._devices:
                torch.cuda.set_rng_state_all(self._devices)
            random.setstate(self._python)
            np.random.set_state(self._numpy)
            yield
