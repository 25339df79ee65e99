"""What no recording can have seen: a negative count, a negative deviation, quantiles that fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icshift.distribution import Distribution
from icshift.runs.format import QUANTILE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


def refuse_impossible(part: Distribution) -> None:
    """Raises `ValueError` for a distribution that no activations have; NaN is possible everywhere."""
    for name in ("count", "nonfinite", "sampled", "std", "w1_error"):
        _refuse_negative(name, getattr(part, name))
    _refuse_no_share("zero_share", part.zero_share)
    _refuse_falling("min, max", np.stack([part.min, part.max], 1))
    _refuse_falling("values", part.values)
    if not 0 <= part.rank_error < np.inf:
        raise ValueError(f"rank_error is {part.rank_error}")
    if part.blocks is not None:
        for name in ("sampled", "zeros", "steps"):
            _refuse_negative(f"block_{name}", getattr(part.blocks, name))
        if (part.blocks.zeros > part.blocks.sampled).any():
            raise ValueError("block_zeros counts more than there are")


def refuse_impossible_steps(steps: pd.DataFrame) -> None:
    """Raises `ValueError` for rows of the step series that no activations have."""
    for name in ("step", "unit", "count", "nonfinite", "std"):
        _refuse_negative(name, steps[name].to_numpy())
    _refuse_no_share("zero_share", steps["zero_share"].to_numpy())
    _refuse_falling("min, max", steps[["min", "max"]].to_numpy())
    _refuse_falling("quantiles", steps[list(QUANTILE_COLUMNS)].to_numpy())


def _refuse_negative(name: str, values: NDArray[np.generic]) -> None:
    if (values < 0).any():
        raise ValueError(f"{name} is {values.min()}: it cannot be negative")


def _refuse_no_share(name: str, values: NDArray[np.generic]) -> None:
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"{name} is not between 0 and 1")


def _refuse_falling(name: str, values: NDArray[np.generic]) -> None:
    if (values[:, 1:] < values[:, :-1]).any():
        raise ValueError(f"{name} are not in ascending order")
