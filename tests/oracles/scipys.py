"""Drift without icshift: raw activations by plain hooks, distances by SciPy."""

import numpy as np
import torch
from scipy.stats import wasserstein_distance

from tests.oracles.hooks import Witness


def raw(model, inputs, axes, *, training=()):
    """Activations [n, units] by site; `axes` says where the units are. Modules of `training` normalise by the batch."""
    witness = Witness({name: model.get_submodule(name) for name in axes})
    model.eval()
    for name in training:
        model.get_submodule(name).train()
    with torch.no_grad():
        model(**inputs) if isinstance(inputs, dict) else model(inputs.clone())
    witness.end()
    witness.remove()
    kept = {name: calls[-1] for name, calls in witness.steps[0].items()}
    return {name: out.movedim(axes[name], -1).flatten(0, -2).double().numpy() for name, out in kept.items()}


def assert_scipys(table, windows):
    """Every value of a drift table of `w1` and `w1_sd` is SciPy's on `windows`, within the bound that it states.

    Beyond it, float32's rounding is allowed for. Gives the largest differences, where a bound is stated and where the
    table says that it is exact, and how many values there are of either.
    """
    wrong, exact = [], []
    for (site, window), rows in table.groupby(["site", "window"]):
        before, after = windows[window - 2][site], windows[window - 1][site]
        truth = np.array([wasserstein_distance(x, y) for x, y in zip(before.T, after.T, strict=True)])
        pooled = np.sqrt((before.var(0) + after.var(0)) / 2)
        expected = {"w1": truth, "w1_sd": truth / np.maximum(pooled, 0.05 * np.median(pooled))}
        for metric, values in rows.groupby("metric"):
            assert values["unit"].tolist() == list(range(len(truth)))
            difference = np.abs(values["value"].to_numpy() - expected[metric])
            bound = values["error"].to_numpy()
            assert (difference <= bound + 1e-5 * expected[metric] + 1e-7).all(), (site, window, metric)
            wrong += difference[bound > 0].tolist()
            exact += difference[bound == 0].tolist()
    return {"within": (max(wrong, default=0.0), len(wrong)), "exact": (max(exact, default=0.0), len(exact))}
