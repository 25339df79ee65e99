"""The table of metrics: the name of each, its function, and every fact about it that reports, checks and commands use.

A new metric is one row of `METRICS` and one function, in `distances.py` (from the distributions of each unit) or
`by_example.py` (from the same examples in both windows). Nothing else in the package knows a metric by its name, but
for `DEFAULT`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from icshift.analysis import noise_of_metrics as of_noise
from icshift.analysis.by_example import (
    PROJECTIONS,
    cka_bias,
    cka_distance,
    complete_rows,
    displacement,
    marginal_share,
    rows_compared,
    sliced_w2,
    sliced_w2_error,
)
from icshift.analysis.distances import (
    JS_BINS,
    PSI_BINS,
    displacement_sd,
    energy,
    energy_error,
    js,
    ks,
    ks_error,
    log_sd_ratio,
    mean_shift_sd,
    near_constant,
    no_error,
    psi,
    w1,
    w1_error,
    w1_sd,
    w1_sd_error,
    w2,
    w2_location,
    w2_scale,
    w2_shape,
    zero_share,
)
from icshift.distribution import Distribution, Floats, Ints
from icshift.errors import SelectionError, unknown
from icshift.noise.exchange import Noise

DEFAULT = "w1_sd"
"""The metric where none is named, and the one that decides which units moved, whichever metric is shown."""

_TAILS = "Units are left out whose tails decide and are not known: of older runs, or with non-finite values."

_SQUARED = "it grows with the square of a change, so that its sum would shrink as windows get shorter"


@dataclass(frozen=True)
class Metric:
    """A named measure and every fact that depends on which one it is.

    `unit` is that of its values, `meaning` says in a few words what it is. `function` takes the distributions of the
    reference and of the window and returns its values: one a unit [units] or, where it is `of` the site as a whole, one
    [1]. With `by_example` it compares the same examples in both windows, which takes a probe, and has no noise floor.

    `noise` is the power of 1/sqrt(n) with which its sampling noise shrinks. `of_noise` returns what it shows by draws
    of noise [draws, units]; where it is None, `function` is applied to what sampling makes of the windows. `error`
    returns a bound on the error of each value, None where none is known: what sketching may have added or, of metrics
    by example, their `error_source`. `typical` is the part of this bound that sketching stays below in nine units of
    ten, of every distribution that was tried: it is measured (`tests/analysis/test_metrics_error.py`), not proved.

    The other fields are words for reports. `not_additive` is the reason why values along a path may not be summed,
    empty where they may. `caveat` says how to read the values; `note` returns a sentence more, from the number of rows
    that were compared and the number of units. `hint` says why the site with the largest value is the one to look at.
    """

    name: str
    unit: str
    meaning: str
    function: Callable[[Distribution, Distribution], Floats]
    noise: int = 1
    of_noise: Callable[[Noise, Distribution, Distribution], Floats] | None = None
    error: Callable[[Distribution, Distribution], Floats] | None = None
    error_source: str = ""
    typical: float = 1.0
    of: Literal["unit", "site"] = "unit"
    by_example: bool = False
    not_additive: str = ""
    caveat: str = ""
    note: Callable[[int, int], str] | None = None
    hint: str = "the site that drifts most"

    @property
    def adds_up(self) -> bool:
        """Whether values along a path may be summed."""
        return not self.not_additive

    def n(self, a: Distribution, b: Distribution) -> Ints:
        """Returns how many activations each value rests on [units]; of a whole site, how many examples [1]."""
        if not self.by_example:
            return np.minimum(a.sampled, b.sampled)
        return rows_compared(a, b) if self.of == "unit" else complete_rows(a, b)

    def near_constant(self, a: Distribution, b: Distribution) -> NDArray[np.bool_]:
        """Returns which of the metric's values are of near-constant units; the value of a whole site never is."""
        return near_constant(a, b) if self.of == "unit" else np.zeros(1, bool)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "w1_sd",
            "sd",
            "Wasserstein-1 over the pooled sd (floored)",
            w1_sd,
            of_noise=of_noise.w1_sd,
            error=w1_sd_error,
            typical=1 / 5,
        ),
        Metric(
            "w1",
            "activation",
            "Wasserstein-1: mean distance the values move",
            w1,
            of_noise=of_noise.w1,
            error=w1_error,
            typical=1 / 5,
        ),
        Metric("w2", "activation", "Wasserstein-2", w2, caveat=_TAILS),
        Metric(
            "w2_location",
            "activation",
            "part of w2 that is change of mean",
            w2_location,
            of_noise=of_noise.w2_location,
            caveat=_TAILS,
        ),
        Metric("w2_scale", "activation", "part of w2 that is change of sd", w2_scale, caveat=_TAILS),
        Metric("w2_shape", "activation", "part of w2 that is change of shape", w2_shape, caveat=_TAILS),
        Metric("ks", "share", "largest difference of the distribution functions", ks, error=ks_error, typical=1 / 2),
        Metric("js", "0 to 1", f"Jensen-Shannon distance, base 2, {JS_BINS} bins of equal pooled mass", js),
        Metric(
            "psi",
            "nats",
            f"population stability index, {PSI_BINS} quantile bins of the reference",
            psi,
            noise=2,
            not_additive=_SQUARED,
        ),
        Metric(
            "energy",
            "sqrt(activation)",
            "energy distance",
            energy,
            error=energy_error,
            typical=1 / 20,
            caveat=_TAILS,
        ),
        Metric(
            "mean_shift_sd",
            "sd",
            "change of the mean over the pooled sd",
            mean_shift_sd,
            of_noise=of_noise.mean_shift_sd,
            error=no_error,
        ),
        Metric(
            "log_sd_ratio", "nats", "logarithm of the ratio of the sds (both floored)", log_sd_ratio, error=no_error
        ),
        Metric("zero_share", "share", "change of the share of exact zeros", zero_share, of_noise=of_noise.zero_share),
        Metric("displacement", "activation", "mean distance that each example moved", displacement, by_example=True),
        Metric(
            "displacement_sd",
            "sd",
            "mean distance that each example moved, over the sd",
            displacement_sd,
            by_example=True,
        ),
        Metric(
            "marginal_share",
            "share",
            "w1 over displacement, of the same examples",
            marginal_share,
            by_example=True,
            not_additive="it is a share of a displacement, and shares do not add up",
            caveat="Near 1 the distribution as a whole moved; near 0 examples swapped places within it.",
            hint="the highest share",
        ),
        Metric(
            "sliced_w2",
            "activation",
            f"sliced Wasserstein-2 times sqrt(units), {PROJECTIONS} directions",
            sliced_w2,
            error=sliced_w2_error,
            error_source="choice of directions",
            of="site",
            by_example=True,
            caveat="A pure shift gives its length over all units: s in each of d units is s times sqrt(d).",
        ),
        Metric(
            "cka_distance",
            "0 to 1",
            "1 - linear CKA: how examples lie to one another",
            cka_distance,
            of="site",
            by_example=True,
            not_additive=_SQUARED,
            caveat="Blind to rotation and to one scale for all units: no distance of distributions, it may rise where "
            "drift falls.",
            note=cka_bias,
        ),
    )
}


def metric(name: str, *, among: str = "") -> Metric:
    """Returns a metric by name. Raises `SelectionError`, with near matches, where there is none.

    Where the two sides have different examples, `among` says in the message what they are ("data sets"): metrics by
    example are refused then.
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    if among and METRICS[name].by_example:
        others = ", ".join(known.name for known in METRICS.values() if not known.by_example)
        raise SelectionError(f"{name} compares the same examples twice, {among} are of different ones; choose {others}")
    return METRICS[name]
