"""Losses by name: what is measured of a model's output and the targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from icshift.errors import IcshiftError, MeasurementError, unknown
from icshift.inputs.files import line
from icshift.inputs.specs import resolve

OWN = "own"
"""The loss that the model itself computes, as models of `transformers` do when they get labels."""


@dataclass(frozen=True)
class Loss:
    """A loss and its name; `of` takes the model's output and the targets, None for a loss of the model's own."""

    name: str
    of: Callable[[Any, Any], Tensor]

    @property
    def needs_targets(self) -> bool:
        """Whether data must hold targets."""
        return self.name != OWN


def loss(spec: str) -> Loss:
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

    def of(output: Any, target: Tensor) -> Tensor:
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

    return of


def _of_numbers(name: str) -> Callable[[Any, Any], Tensor]:
    """Targets are shaped like the output, but for an axis of length one: else they would be broadcast in silence."""
    function = getattr(functional, name)

    def of(output: Any, target: Tensor) -> Tensor:
        values = _main(output)
        if _essential(values) != _essential(target) or values.shape[:1] != target.shape[:1]:
            raise _misfit(name, values, target, "the same shape")
        try:
            return function(values, target.reshape(values.shape).to(values.dtype))
        except RuntimeError as error:
            raise MeasurementError(f"{name} cannot be computed: {line(error)}{_remedy(name)}") from error

    return of


def _classes(target: Tensor, count: int, name: str) -> Tensor:
    """As integers; those that torch ignores, -100, stay."""
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
    return [size for size in tensor.shape[1:] if size != 1]


def _main(output: Any) -> Tensor:
    """The tensor that a loss is about: the output itself, its logits, or the first that is in it."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        inner = [output["logits"]] if output.get("logits") is not None else list(output.values())
    else:
        inner = list(output) if isinstance(output, (tuple, list)) else []
    found = next((one for one in inner if isinstance(one, Tensor) and one.ndim), None)
    if found is None:
        raise MeasurementError(f"the model gives {type(output).__name__}: expected a tensor, or several, for the loss")
    return found


def _own(output: Any) -> Tensor:
    """What an output holds under `loss`, or the only single number in it."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if found is None:
        inner = output if isinstance(output, (tuple, list)) else (output,)
        single = [one for one in inner if isinstance(one, Tensor) and one.numel() == 1 and one.is_floating_point()]
        found = single[0] if len(single) == 1 else None
    if not isinstance(found, Tensor):
        raise MeasurementError(
            f"the model gives {type(output).__name__} without a loss: name an array as the argument of its forward "
            "that makes it compute one, as labels, or take another --loss"
        )
    return found


def _from(spec: str) -> Callable[[Any, Any], Any]:
    found = resolve(spec)
    try:
        found = found() if inspect.isclass(found) else found
    except Exception as error:
        raise MeasurementError(f"{spec}() failed: {type(error).__name__}: {line(error)}") from error
    if not callable(found):
        raise MeasurementError(f"{spec} is {type(found).__name__}: expected a function of output and target")
    return found


def _one_number(function: Callable[[Any, Any], Any], spec: str) -> Callable[[Any, Any], Tensor]:
    def of(output: Any, target: Any) -> Tensor:
        try:
            found = function(output, target)
        except IcshiftError:
            raise
        except Exception as error:
            given = f"output {_described(output)}, target {_described(target)}"
            raise MeasurementError(f"{spec} failed with {given}: {type(error).__name__}: {line(error)}") from error
        if not isinstance(found, Tensor) or found.numel() != 1:
            raise MeasurementError(f"{spec} gave {_described(found)}: expected one number, as the mean over examples")
        return found.reshape(())

    return of


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
