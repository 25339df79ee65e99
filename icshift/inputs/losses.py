"""Losses by name: one number out of a model's output and the targets, the mean over examples.

A name is one of `torch.nn.functional`, in any of its spellings; a spec names a function of the user's; `own` is what
the model itself computes. Every mistake (targets of another shape, classes out of range) is an error that says what was
found and what was expected: torch itself would broadcast, or fail deep within a kernel.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from icshift.errors import IcshiftError, MeasurementError, message_of, unknown
from icshift.inputs.specs import resolve

OWN = "own"
"""The loss that the model itself computes, as models of `transformers` do when they get labels."""


@dataclass(frozen=True)
class Loss:
    """A loss and its name; `compute` takes the model's output and the targets (None for the model's own loss).

    >>> mse = loss_named("mse")
    >>> mse.name, mse.compute(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 0.0]))
    ('mse_loss', tensor(5.))
    """

    name: str
    compute: Callable[[Any, Any], Tensor]

    @property
    def needs_targets(self) -> bool:
        """Whether data must hold targets."""
        return self.name != OWN


def loss_named(spec: str) -> Loss:
    """A loss by the name of a function of torch.nn.functional (`mse`, `mse_loss`, `MSELoss`), `own`, or by a spec.

    What a spec names gets the output as the model gives it; a class, as `torch.nn:HuberLoss`, is made without
    arguments. Raises `SelectionError` for a name that is not known, `ModelError` for a spec that names nothing.
    """
    if spec == OWN:
        return Loss(OWN, lambda output, _: _own(output))
    if ":" in spec:
        return Loss(spec, _one_number(_from(spec), spec))
    names = {_plain(name): name for name in (*_CLASSES, *_NUMBERS)} | _SHORT
    if _plain(spec) not in names:
        raise unknown("loss", spec, [*_CLASSES, *_NUMBERS, OWN])
    name = names[_plain(spec)]
    return Loss(name, _of_classes(name) if name in _CLASSES else _of_numbers(name))


_CLASSES = ("cross_entropy", "nll_loss")
"""These take classes, whole numbers, as targets."""

_NUMBERS = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy_with_logits",
    "binary_cross_entropy",
    "soft_margin_loss",
    "multilabel_soft_margin_loss",
    "poisson_nll_loss",
)
"""These take targets shaped like the output."""

_SHORT = {
    "ce": "cross_entropy",
    "mae": "l1_loss",
    "bce": "binary_cross_entropy",
    "bcewithlogits": "binary_cross_entropy_with_logits",
}


def _plain(name: str) -> str:
    """What `MSELoss`, `mse_loss` and `mse` have in common."""
    return name.lower().replace("_", "").removesuffix("loss")


def _of_classes(name: str) -> Callable[[Any, Any], Tensor]:
    """Outputs [n, classes, …] with targets [n, …], or [n, …, classes] as language models give them.

    Where both readings fit, it is the first, torch's own. Targets shaped like the output are probabilities.
    """
    function = getattr(functional, name)

    def compute(output: Any, target: Tensor) -> Tensor:
        scores = _main(output)
        if target.ndim == scores.ndim and target.shape[1:] == (1,) and scores.shape[1:] != (1,):
            target = target[:, 0]
        if target.is_floating_point() and target.shape == scores.shape and name == "cross_entropy":
            return function(scores, target)
        if scores.ndim < 2 or target.shape != scores.shape[:1] + scores.shape[2:]:
            if scores.ndim < 2 or target.shape != scores.shape[:-1]:
                raise _misfit(name, scores, target, "[n, classes] and [n]")
            scores, target = scores.flatten(0, -2), target.flatten()
        return function(scores, _classes(target, scores.shape[1], name))

    return compute


def _of_numbers(name: str) -> Callable[[Any, Any], Tensor]:
    """Targets are shaped like the output, but for an axis of length one: else they would be broadcast in silence."""
    function = getattr(functional, name)

    def compute(output: Any, target: Tensor) -> Tensor:
        values = _main(output)
        if _essential(values) != _essential(target) or values.shape[:1] != target.shape[:1]:
            raise _misfit(name, values, target, "the same shape")
        try:
            return function(values, target.reshape(values.shape).to(values.dtype))
        except RuntimeError as error:
            raise MeasurementError(f"{name} cannot be computed: {message_of(error)}{_remedy(name)}") from error

    return compute


def _classes(target: Tensor, count: int, name: str) -> Tensor:
    """Targets as int64; those that torch ignores, -100, stay. Raises `MeasurementError` for what is no class."""
    if target.is_floating_point() and not bool((target == target.round()).all()):
        raise MeasurementError(f"{name} takes classes as targets, whole numbers: found {float(target.flatten()[0]):g}")
    target = target.long()
    counted = target[target != -100]
    if len(counted) and (int(counted.min()) < 0 or int(counted.max()) >= count):
        raise MeasurementError(
            f"targets are classes from {int(counted.min())} to {int(counted.max())}, and the output has {count}: "
            f"{name} takes classes from 0 to {count - 1}"
        )
    return target


def _essential(tensor: Tensor) -> list[int]:
    """The shape of an example without the axes of length one."""
    return [size for size in tensor.shape[1:] if size != 1]


def _main(output: Any) -> Tensor:
    """The tensor that a loss is about: the output itself, its logits, or the first that is in it."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        inner = [output["logits"]] if output.get("logits") is not None else list(output.values())
    else:
        inner = list(output) if isinstance(output, (tuple, list)) else []
    main = next((value for value in inner if isinstance(value, Tensor) and value.ndim), None)
    if main is None:
        raise MeasurementError(f"the model gives {type(output).__name__}: expected a tensor, or several, for the loss")
    return main


def _own(output: Any) -> Tensor:
    """What an output holds under `loss`, or the only single number in it."""
    own = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if own is None:
        inner = output if isinstance(output, (tuple, list)) else (output,)
        numbers = [v for v in inner if isinstance(v, Tensor) and v.numel() == 1 and v.is_floating_point()]
        own = numbers[0] if len(numbers) == 1 else None
    if not isinstance(own, Tensor):
        raise MeasurementError(
            f"the model gives {type(output).__name__} without a loss: name an array as the argument of its forward "
            "that makes it compute one, as labels, or take another --loss"
        )
    return own


def _from(spec: str) -> Callable[[Any, Any], Any]:
    """The function that a spec names; a class is called without arguments to make it."""
    function = resolve(spec)
    try:
        function = function() if inspect.isclass(function) else function
    except Exception as error:
        raise MeasurementError(f"{spec}() failed: {type(error).__name__}: {message_of(error)}") from error
    if not callable(function):
        raise MeasurementError(f"{spec} is {type(function).__name__}: expected a function of output and target")
    return function


def _one_number(function: Callable[[Any, Any], Any], spec: str) -> Callable[[Any, Any], Tensor]:
    """The same function, held to give one number."""

    def compute(output: Any, target: Any) -> Tensor:
        try:
            value = function(output, target)
        except IcshiftError:
            raise
        except Exception as error:
            given = f"output {_described(output)}, target {_described(target)}"
            raise MeasurementError(
                f"{spec} failed with {given}: {type(error).__name__}: {message_of(error)}"
            ) from error
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise MeasurementError(f"{spec} gave {_described(value)}: expected one number, as the mean over examples")
        return value.reshape(())

    return compute


def _misfit(name: str, output: Tensor, target: Tensor, expected: str) -> MeasurementError:
    return MeasurementError(
        f"{name}: output {_described(output)} and target {_described(target)} do not fit: expected {expected}"
    )


def _remedy(name: str) -> str:
    if name == "binary_cross_entropy":
        return "; it takes probabilities: for raw outputs --loss binary_cross_entropy_with_logits"
    return ""


def _described(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
