"""Summaries over steps of what a recorder measured with gradients: of the gradient shift, and of the loss around."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd

from icshift.runs.reader import Run


def gradient_shift_summary(run: Run, *, layers: Iterable[str] | None = None) -> pd.DataFrame:
    """Returns a row a layer in the order of the forward; of the `layers` that a glob names, if given.

    `l2`, `relative` (l2 over the norm of G, step by step) and `cosine` are medians, `cosine_p10` the 10th percentile;
    `last` is the last relative shift and `trend` that of every step. `n` counts the steps measured, `parameters` those
    of the layer. The first layer has none before it: its shift is 0 by definition.
    """
    measured = run.gradient_shift()
    with np.errstate(divide="ignore", invalid="ignore"):
        measured["relative"] = measured["l2"] / measured["norm"].where(measured["norm"] > 0)
    rows: list[dict[str, Any]] = []
    globs = list(layers or ["*"])
    for layer, of_layer in measured.groupby("layer", sort=False):
        if not any(fnmatchcase(str(layer), glob) for glob in globs):
            continue
        rows.append(
            {
                "layer": layer,
                "parameters": int(of_layer["parameters"].iloc[-1]),
                "n": len(of_layer),
                "l2": of_layer["l2"].median(),
                "relative": of_layer["relative"].median(),
                "cosine": of_layer["cosine"].median(),
                "cosine_p10": of_layer["cosine"].quantile(0.1),
                "last": of_layer["relative"].iloc[-1],
                "trend": of_layer["relative"].tolist(),
            }
        )
    return pd.DataFrame(rows)


def smoothness_summary(run: Run) -> dict[str, Any]:
    """Returns what lies along the gradient, over all measured steps; empty where none was measured.

    Medians of `loss_range` (largest less smallest loss along the gradient), of `predictiveness_min` and
    `predictiveness_max`, of `beta_rate`, and its largest value; `beta_step` is the commonest of the lengths, in
    learning rates, that attained it. `n` counts the steps measured, `rate` is the last one's.
    """
    measured = run.smoothness()
    if measured.empty:
        return {}
    commonest = measured["beta_step"].mode()
    return {
        "n": len(measured),
        "rate": float(measured["rate"].iloc[-1]),
        "loss_range": float((measured["loss_max"] - measured["loss_min"]).median()),
        "predictiveness_min": float(measured["predictiveness_min"].median()),
        "predictiveness_max": float(measured["predictiveness_max"].median()),
        "beta_rate": float(measured["beta_rate"].median()),
        "beta_rate_max": float(measured["beta_rate"].max()),
        "beta_step": float(commonest.iloc[0]) if len(commonest) else float("nan"),
    }
