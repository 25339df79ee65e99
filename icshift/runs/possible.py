"""What no recording can have seen: a negative count, a negative deviation, quantiles that fall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from icshift.runs.format import MOST_COUNTED, QUANTILE_COLUMNS
from icshift.tails import TAIL

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_ROUNDING = 1e-5
"""By so much of the largest value means of values may lie outside of them: sums of float32 are rounded."""

_FROM_ZERO = ("count", "nonfinite", "sampled", "std", "w1_error")


def refuse_impossible(found: Mapping[str, Any]) -> None:
    """Raises `ValueError` for attributes of a distribution that no activations have; NaN is possible everywhere.

    `found` has all moments of it, all values, or whatever else is asked for together, by their names.
    """
    for name in _FROM_ZERO:
        if name in found:
            _refuse_negative(name, found[name])
    if "zero_share" in found:
        _refuse_no_share("zero_share", found["zero_share"])
    if "min" in found:
        _refuse_less("min, max", found["max"], found["min"])
    if "values" in found:
        _refuse_falling("values", found["values"])
    if (tails := found.get("tails")) is not None:
        _refuse_falling("tail_values", tails[:, :TAIL])
        _refuse_falling("tail_values", tails[:, TAIL:])
    if not 0 <= found.get("rank_error", 0) < np.inf:
        raise ValueError(f"rank_error is {found['rank_error']}")
    if (blocks := found.get("blocks")) is not None:
        sampled, zeros = (_once(one) for one in (blocks.sampled, blocks.zeros))
        for name, numbers in (("sampled", sampled), ("zeros", zeros), ("steps", blocks.steps)):
            _refuse_negative(f"block_{name}", numbers)
        if (zeros > sampled).any():
            raise ValueError("block_zeros counts more than there are")


def refuse_beyond(found: Mapping[str, Any], moments: Mapping[str, NDArray[Any]]) -> None:
    """Raises `ValueError` for attributes of a distribution that cannot have these moments; NaN is possible everywhere.

    `found` is as for `refuse_impossible`, `moments` have `min`, `max` and `sampled`.
    """
    for name, column in (("values", "values"), ("tails", "tail_values")):
        if (values := found.get(name)) is not None and values.shape[1]:
            _refuse_outside(column, values[:, :: values.shape[1] - 1 or 1], moments)  # In order: the ends will do.
    if (blocks := found.get("blocks")) is not None and len(blocks):
        _refuse_outside("block_slices", blocks.slices.reshape(len(blocks.slices), -1), moments)
        counted = _once(blocks.sampled)
        if ((counted.sum(1) != moments["sampled"]) & (counted < MOST_COUNTED).all(1)).any():
            raise ValueError("block_sampled does not add up to sampled")


def refuse_impossible_steps(steps: pd.DataFrame) -> None:
    """Raises `ValueError` for rows of the step series that no activations have."""
    for name in ("step", "unit", "count", "nonfinite", "std"):
        _refuse_negative(name, steps[name].to_numpy())
    _refuse_no_share("zero_share", steps["zero_share"].to_numpy())
    _refuse_falling("min, max", steps[["min", "max"]].to_numpy())
    _refuse_falling("quantiles", steps[list(QUANTILE_COLUMNS)].to_numpy())


def _once(rows: NDArray[Any]) -> NDArray[Any]:
    """Returns rows [rows, n], of those that are the same memory one."""
    return rows if rows.strides[0] else rows[:1]


def _refuse_negative(name: str, values: NDArray[Any]) -> None:
    if (values < 0).any():
        raise ValueError(f"{name} is {values.min()}: it cannot be negative")


@np.errstate(over="ignore")
def _refuse_outside(name: str, values: NDArray[Any], moments: Mapping[str, NDArray[Any]]) -> None:
    """Raises `ValueError` for values [units, n] that are below the lowest or above the highest activation."""
    low, high = moments["min"], moments["max"]
    room = _ROUNDING * np.maximum(np.abs(low), np.abs(high)) + np.finfo(np.float32).tiny
    low, high = ((end[:, None]).astype(values.dtype) for end in (low - room, high + room))
    outside = (values < low) | (values > high)
    if outside.any() and np.isfinite(values[outside]).any():  # Sums of the largest numbers are infinite.
        raise ValueError(f"{name} are not between min and max")


def _refuse_no_share(name: str, values: NDArray[Any]) -> None:
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"{name} is not between 0 and 1")


def _refuse_falling(name: str, values: NDArray[Any]) -> None:
    _refuse_less(name, values[:, 1:], values[:, :-1])


def _refuse_less(name: str, second: NDArray[Any], first: NDArray[Any]) -> None:
    if (second < first).any():
        raise ValueError(f"{name} are not in ascending order")
