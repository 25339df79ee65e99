"""Summaries of what was measured with gradients: a row a layer, a row a run."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from icshift.runs.reader import Run


def gradient_shift_summary(run: Run, *, layers: Iterable[str] | None = None) -> pd.DataFrame:
    """A row a layer in the order of the forward, over all measured steps; only `layers` that a glob names, if given.

    `l2`, `relative` (l2 over the norm of G, step by step) and `cosine` are medians, `cosine_p10` the 10th percentile;
    `last` is the last relative shift and `trend` that of every step. `n` counts the steps measured, `parameters` those
    of the layer. The first layer has none before it: its shift is 0 by definition.
    """
    series = run.gradient_shift()
    with np.errstate(divide="ignore", invalid="ignore"):
        series["relative"] = series["l2"] / series["norm"].where(series["norm"] > 0)
    rows: list[dict[str, Any]] = []
    globs = list(layers or ["*"])
    for layer, one in series.groupby("layer", sort=False):
        if not any(fnmatchcase(str(layer), glob) for glob in globs):
            continue
        rows.append(
            {
                "layer": layer,
                "parameters": int(one["parameters"].iloc[-1]),
                "n": len(one),
                "l2": one["l2"].median(),
                "relative": one["relative"].median(),
                "cosine": one["cosine"].median(),
                "cosine_p10": one["cosine"].quantile(0.1),
                "last": one["relative"].iloc[-1],
                "trend": one["relative"].tolist(),
            }
        )
    return pd.DataFrame(rows)


def smoothness_summary(run: Run) -> dict[str, Any]:
    """Over all measured steps; empty where there is none.

    Medians of `loss_range` (largest less smallest loss along the gradient), of `predictiveness_min` and
    `predictiveness_max`, of `beta_rate`, and its largest value; `beta_step` is the commonest of the lengths, in
    learning rates, that attained it. `n` counts the steps measured, `rate` is the last one's.
    """
    series = run.smoothness()
    if series.empty:
        return {}
    return {
        "n": len(series),
        "rate": float(series["rate"].iloc[-1]),
        "loss_range": float((series["loss_max"] - series["loss_min"]).median()),
        "predictiveness_min": float(series["predictiveness_min"].median()),
        "predictiveness_max": float(series["predictiveness_max"].median()),
        "beta_rate": float(series["beta_rate"].median()),
        "beta_rate_max": float(series["beta_rate"].max()),
        "beta_step": float(series["beta_step"].mode().iloc[0]) if series["beta_step"].notna().any() else float("nan"),
    }
