"""Series of a run: of steps, of measurements with gradients, of what the training logged. Each is a folder of segments.

They are read as they were written, by whatever version; `StoredRun` gives them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from icshift.runs import columns, sealed, segments
from icshift.runs.columns import REAL, TEXT, WHOLE, Column
from icshift.runs.format import GRADIENT_SHIFT, LOGGED, QUANTILE_COLUMNS, SMOOTHNESS, STEPS, Window
from icshift.runs.parts import Part, parts_in
from icshift.runs.possible import refuse_impossible_steps
from icshift.runs.window_file import damage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MOST_ROWS = 1 << 22
"""Rows of a segment. The step series as a whole is thinned when it reaches a million."""

_RANGES = ("loss_min", "loss_max", "predictiveness_min", "predictiveness_max")

COLUMNS: Mapping[str, Mapping[str, Column]] = {
    STEPS: {
        **dict.fromkeys(("phase", "site"), TEXT),
        **dict.fromkeys(("step", "unit", "count", "nonfinite"), WHOLE),
        **dict.fromkeys(("mean", "std", "min", "max", "zero_share", *QUANTILE_COLUMNS), REAL),
    },
    GRADIENT_SHIFT: {
        "step": WHOLE,
        "layer": TEXT,
        "parameters": WHOLE,
        **dict.fromkeys(("l2", "cosine", "norm", "norm_after"), REAL),
    },
    SMOOTHNESS: {
        "step": WHOLE,
        **dict.fromkeys(("rate", "loss", "gradient_norm", *_RANGES, "beta_rate", "beta_step"), REAL),
    },
    LOGGED: {"step": WHOLE, "window": Column("whole", nullable=True), "name": TEXT, "value": REAL},
}
"""The columns of every series, in the order in which tables have them."""

_NOT_NEGATIVE = {GRADIENT_SHIFT: ("parameters", "l2", "norm", "norm_after"), SMOOTHNESS: ("gradient_norm",)}


def schema_of(kind: str) -> pa.Schema:
    """Returns the types of the columns of a series other than that of the steps, so that all its files are alike."""
    import pyarrow as pa

    types = {"text": pa.string(), "whole": pa.int64(), "real": pa.float64()}
    return pa.schema([pa.field(name, types[column.kind]) for name, column in COLUMNS[kind].items()])


def read(
    folder: Path, kind: str, ids: Sequence[str | None], filters: Sequence[tuple[str, str, Any]] | None = None
) -> list[tuple[int, pd.DataFrame]]:
    """Returns the segments of a series, each with its rank: `ids` are of the ranks that the run counts.

    Raises `RunError` where one is damaged.
    """
    return [(part.rank, segment(part, kind, ids[part.rank], filters)) for part in parts_in(folder, len(ids))]


def segment(
    part: Part, kind: str, run_id: str | None, filters: Sequence[tuple[str, str, Any]] | None = None
) -> pd.DataFrame:
    """Returns what a file of a series holds.

    Raises `RunError` where it is damaged, by its name holds other segments, or is of another series or recording.
    """
    with damage(part.path):
        segments.refuse_other(sealed.footer(part.path).metadata or {}, part, kind)
        read = columns.read(part.path, COLUMNS[kind], most_rows=MOST_ROWS, run_id=run_id, only=filters)
        frame: pd.DataFrame = read.to_pandas()
        _refuse_impossible(kind, frame)
    return frame


def _refuse_impossible(kind: str, frame: pd.DataFrame) -> None:
    for name in ("step", *_NOT_NEGATIVE.get(kind, ())):
        if (frame[name] < 0).any():
            raise ValueError(f"a {name} is negative")
    if kind == STEPS:
        refuse_impossible_steps(frame)


def table(frames: Sequence[tuple[int, pd.DataFrame]], kind: str, *, ranked: bool) -> pd.DataFrame:
    """Returns segments as one table, where `ranked` with a column of their ranks."""
    import pandas as pd

    named = [*COLUMNS[kind], *(["rank"] if ranked else [])]
    parts = [frame.assign(rank=rank) if ranked else frame for rank, frame in frames]
    parts = [frame for frame in parts if len(frame)] or parts[:1]  # pandas 2 warns where it joins nothing to something.
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=named)
    texts = [name for name, column in COLUMNS[kind].items() if column.kind == "text"]
    return whole.assign(**{name: whole[name].astype(object) for name in texts})


def windows_of(rows: pd.DataFrame, windows: Sequence[Window]) -> NDArray[np.int64]:
    """Returns the number of the window of each row, by its step where none is written (the windows were provisional).

    So it is where windows before one that is there were joined.
    """
    edges, numbers = ([getattr(window, name) for window in windows] for name in ("first_step", "index"))
    places = np.searchsorted(edges, rows["step"], side="right") - 1
    found = np.array(numbers or [1])[np.maximum(places, 0)]
    gone = rows["window"].isna() | (~rows["window"].isin(numbers) & (rows["window"] < max(numbers, default=0)))
    return np.where(gone, found, rows["window"].fillna(0)).astype(np.int64)
