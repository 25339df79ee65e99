"""Summaries over steps of what a recorder measured with gradients: gradient shift, and smoothness of the loss."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from icshift.runs.reader import StoredRun


def gradient_shift_summary(run: StoredRun, *, layers: Iterable[str] | None = None) -> pd.DataFrame:
    """Returns a data frame with one row per layer in the order of the forward, without rows where nothing was measured.

    With `layers`, only layers whose name matches one of these globs are in it. `l2`, `relative` (l2 over the norm of G,
    step by step) and `cosine` are medians over steps; `relative_p10`, `relative_p90` and `cosine_p10` are percentiles,
    which say how much steps differ. `last` is the last relative shift and `trend` a list with that of every step. `n`
    is the number of steps measured, `parameters` the number of the layer's parameters. The first layer has none before
    it: its shift is 0 by definition.
    """
    measured = run.gradient_shift()
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
                "relative_p10": of_layer["relative"].quantile(0.1),
                "relative_p90": of_layer["relative"].quantile(0.9),
                "cosine": of_layer["cosine"].median(),
                "cosine_p10": of_layer["cosine"].quantile(0.1),
                "last": of_layer["relative"].iloc[-1],
                "trend": of_layer["relative"].tolist(),
            }
        )
    return pd.DataFrame(rows)


def smoothness_summary(run: StoredRun) -> dict[str, Any]:
    """Returns the smoothness of the loss along the gradient over all measured steps; empty where none was measured.

    `loss_range` (largest less smallest loss along the gradient), `predictiveness_min`, `predictiveness_max` and
    `beta_rate` are medians, `beta_rate_max` is the largest value. `beta_step` is the multiple of the learning rate at
    which `beta_rate` was attained most often. `n` is the number of steps measured, `rate` the learning rate at the last
    of them. `icshift.gradients.smoothness.Smoothness` defines the quantities.
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
