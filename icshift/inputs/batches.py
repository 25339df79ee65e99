"""Batches: the arguments of one forward, cut into examples, counted, copied, and sent through a model.

A batch is whatever a forward takes: tensors, and plain values or nested tuples, lists and dictionaries beside them. Its
examples are the rows of its tensors, along their first axis. A tensor without axes (a scale, a temperature) belongs to
all examples. A batch can be cut where all its tensors are of one length and everything beside them is a plain value: a
list of names would no longer fit the rows that are left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from icshift.errors import ModelError, message_of

Batch = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of one forward."""

_PLAIN = (int, float, bool, str, type(None))
"""Types of values that mean the same for a part of the examples as for all of them."""


def length(batch: Batch) -> int:
    """The number of examples: the rows of the first tensor that has an axis; a batch without one counts as one.

    >>> length(((torch.zeros(32, 3),), {"scale": torch.tensor(2.0)}))
    32
    """
    return next((len(tensor) for tensor in tensors(batch) if tensor.ndim), 1)


def tensors(value: Any) -> Iterator[Tensor]:
    """Yields every tensor in a batch, or in any nesting of tuples, lists and dictionaries, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from tensors(inner)


def with_each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting of tuples, lists and dictionaries with every tensor in it changed; nothing is written to."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: with_each_tensor(inner, change) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        changed = [with_each_tensor(inner, change) for inner in value]
        return type(value)(*changed) if hasattr(value, "_fields") else type(value)(changed)
    return value


def is_float(tensor: Tensor) -> bool:
    """Whether a tensor holds real or complex floating-point numbers, which alone may be non-finite."""
    return tensor.is_floating_point() or tensor.is_complex()


def cut(batch: Batch, pieces: int) -> Iterator[Batch]:
    """Yields a batch in so many pieces of almost equal size, in order; each holds at least one example.

    A batch of fewer examples gives as many pieces as it has examples, one that cannot be cut is yielded whole.

    >>> [length(piece) for piece in cut(((torch.zeros(10, 3),), {}), 4)]
    [2, 3, 3, 2]
    """
    if not is_cuttable(batch):
        yield batch
        return
    rows = length(batch)
    edges = np.linspace(0, rows, min(pieces, rows) + 1).round().astype(int).tolist()
    for start, stop in pairwise(edges):
        yield _rows(batch, slice(start, stop))


def limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    """Yields batches until they hold `limit` examples together (None: all), the last one cut to what is left.

    No batch is asked for after the limit: what gives them may have no end. Raises `ModelError` where the last one would
    have to be cut and cannot be.
    """
    left = math.inf if limit is None else limit
    while left > 0:
        batch = next(batches, None)
        if batch is None:
            return
        if length(batch) > left:
            if not is_cuttable(batch):
                raise ModelError(f"a batch of {length(batch)} examples cannot be cut to a limit of {limit}")
            batch = _rows(batch, slice(0, int(left)))
        left -= length(batch)
        yield batch


def finite_examples(batch: Batch) -> Tensor | None:
    """Whether each example is finite in all tensors; None where some are not and the batch cannot be cut."""
    floats = [tensor for tensor in tensors(batch) if is_float(tensor)]
    if all(bool(tensor.isfinite().all()) for tensor in floats):
        return torch.ones(length(batch), dtype=torch.bool)
    if not is_cuttable(batch):
        return None
    finite = [tensor.isfinite().reshape(len(tensor), -1).all(1) for tensor in floats if tensor.ndim]
    return torch.stack(finite).all(0)


def finite_rows(batch: Batch) -> Batch | None:
    """The examples that are finite in all tensors; None where there are others and the batch cannot be cut."""
    finite = finite_examples(batch)
    if finite is None:
        return None
    return batch if bool(finite.all()) else _rows(batch, finite)


def forward(model: nn.Module, batch: Batch, source: str) -> Any:
    """Sends copies of a batch through the model, which may begin with an operation in place, and returns its output.

    Raises `ModelError` with the shapes where the model does not take it; `source` is where the batch came from.
    """
    positional, keyword = with_each_tensor(batch, Tensor.clone)
    try:
        return model(*positional, **keyword)
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise ModelError(
                f"{source}: a batch of {shapes(batch)} is too small for batch norm by the batch: "
                "take more examples, or a larger batch size (--batch-size)"
            ) from error
        of_types = any(word in str(error) for word in ("dtype", "scalar type", "Long", "Int", "long int"))
        whole_numbers = of_types and any(not is_float(tensor) for tensor in tensors(batch))
        hint = "; numbers without a fraction stay integers: save them as floats" if whole_numbers else ""
        raise ModelError(
            f"{type(model).__name__} does not take the data of {source}, batches of {shapes(batch)}: "
            f"{type(error).__name__}: {message_of(error)}{hint}"
        ) from error


def shapes(batch: Batch) -> str:
    """Shapes and types of the arguments, for a message.

    >>> shapes(((torch.zeros(8, 3),), {"training": True}))
    '[8, 3] float32, training=bool'
    """
    positional, keyword = batch
    shown = [_shape(value) for value in positional] + [f"{name}={_shape(value)}" for name, value in keyword.items()]
    return ", ".join(shown)


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def is_cuttable(batch: Batch) -> bool:
    """Whether a part of the examples is a batch as well."""
    positional, keyword = batch
    values = [*positional, *keyword.values()]
    lengths = {len(value) for value in values if isinstance(value, Tensor) and value.ndim}
    return len(lengths) == 1 and all(isinstance(value, (Tensor, *_PLAIN)) for value in values)


def _rows(batch: Batch, rows: slice | Tensor) -> Batch:
    selected: Batch = with_each_tensor(batch, lambda tensor: tensor[rows] if tensor.ndim else tensor)
    return selected
