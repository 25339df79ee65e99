"""How far the statistics of a batch normalisation layer are from those of data."""

from __future__ import annotations

import numpy as np

from icshift.distribution import Floats


def source_normalised(source: tuple[Floats, Floats], target: tuple[Floats, Floats]) -> float:
    """The Wasserstein-2 distance of diagonal normal distributions, in sd of the source, root mean over units.

    Each is (mean, sd) [units], sd including the layer's eps:
    sqrt(mean_j [((mu_t - mu_s) / sd_s)^2 + (1 - sd_t / sd_s)^2]), after Schneider et al. (2020).
    """
    (mean, sd), (other_mean, other_sd) = source, target
    squares = ((other_mean - mean) / sd) ** 2 + (1 - other_sd / sd) ** 2
    return float(np.sqrt(np.mean(squares)))
