"""How values look, for every renderer: the scale and its codes, palettes, light and dark, and the words for them.

A cell holds a code of one byte: one of the reserved ones, or a place on the scale from `LOWEST` to 255. A renderer
takes codes, palettes and words from here and decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icshift.analysis.metrics import Metric

Codes = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

ABSENT, NOT_FINITE, CONSTANT, UNKNOWN, CHANCE = range(5)
"""Reserved codes."""

LOWEST, LEVELS = 10, 246
"""The first code of the scale, and how many there are: 10 to 255."""

_STATES = {
    ABSENT: ("absent", "not recorded, or nothing to compare with"),
    NOT_FINITE: ("not finite", "activations that are not finite: no drift can be given"),
    CONSTANT: ("constant", "near-constant units only: drift in sd means little"),
    UNKNOWN: ("floor unknown", "too few steps for a floor: whether it is more than chance shows is unknown"),
}

_CHANCE = ("not above chance", "not above what chance shows"), ("no drift", "no drift beyond the error of what is kept")

PALETTES = {
    "viridis": (
        *("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30"),
        "#fde725",
    ),
    "cividis": (
        *("#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369"),
        *("#e1cc55", "#fee838"),
    ),
}
"""Anchors at equal distances, between which colours are mixed linearly in RGB (van der Walt & Smith 2015; Nunez et al.
2018). Both grow lighter all the way, so that a print without colours has the same order."""

COLOURS_OF_PARTS = ("#0072b2", "#e69f00", "#9a9fa8")
"""Of change of mean, sd and shape: blue, orange and grey, which differ in lightness too (after Okabe & Ito 2008)."""

COLOURS_OF_GROUPS = ("#0072b2", "#d55e00")
"""Of two groups of runs, A and B (Okabe & Ito 2008); their marks differ too."""

THEMES = {
    "light": {
        **{"ground": "#ffffff", "panel": "#f5f6f8", "ink": "#16181d", "quiet": "#555b66", "line": "#d3d7de"},
        **{"accent": "#0b57d0", "mark": "#b3261e", "hatch": "#8d94a1", "absent": "#eceef2", "band": "#dbe7fb"},
    },
    "dark": {
        **{"ground": "#14161a", "panel": "#1d2026", "ink": "#eceef2", "quiet": "#a5acb8", "line": "#3a3f49"},
        **{"accent": "#8ab4f8", "mark": "#ff8a80", "hatch": "#7d8593", "absent": "#23272e", "band": "#26354f"},
    },
}
"""Colours by name; text and its ground differ by 4.5 to 1 at least (WCAG 2.2, AA)."""


@dataclass(frozen=True)
class Scale:
    """What the colours of a page say: the binary logarithm of drift over its floor, or the decimal one of drift.

    The scale is from `low` to `high`, in these logarithms; what is beyond has the colour of its end.
    """

    of_floor: bool
    low: float
    high: float
    label: str
    ticks: tuple[tuple[float, str], ...]

    def codes(self, drift: Floats, floor: Floats, chance: NDArray[np.bool_]) -> Codes:
        """Returns the codes of drifts and their floors, of one shape; `chance` marks what is not above chance anyway.

        NaN drifts are absent: whoever knows better puts another code there.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.log2(np.abs(drift) / floor) if self.of_floor else np.log10(np.abs(drift))
        span = max(self.high - self.low, 1e-9)
        place = np.clip((np.nan_to_num(value, nan=0.0) - self.low) / span, 0.0, 1.0)
        codes = (LOWEST + np.rint(place * (LEVELS - 1))).astype(np.uint8)
        if self.of_floor:
            codes[np.isnan(floor)] = UNKNOWN
            chance = chance | (np.abs(drift) <= floor)
        else:
            chance = chance | (drift == 0)
        codes[chance] = CHANCE
        codes[~np.isfinite(drift)] = ABSENT
        return codes


def exact(value: float) -> str:
    """Returns a number with all digits that a float32 has: what a mark tells of itself."""
    return f"{value:.9g}"


def states(scale: Scale) -> dict[int, tuple[str, str]]:
    """Returns a short name and a sentence for every reserved code."""
    return {**_STATES, CHANCE: _CHANCE[0 if scale.of_floor else 1]}


def scale_of(metric: Metric, drift: Floats, floor: Floats) -> Scale:
    """Returns the scale of all sites and windows: of floors where any is known and not 0, else of drift alone."""
    size = np.abs(drift[np.isfinite(drift)])
    if (floor > 0).any():
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(drift) / np.where(floor > 0, floor, np.nan)
        top = float(np.nanmax(ratio, initial=8.0))
        high = float(np.clip(np.ceil(np.log2(top)), 3, 12))
        ticks = tuple((float(power), f"{2**power:,}×") for power in range(0, int(high) + 1, 1 if high <= 6 else 2))
        return Scale(True, 0.0, high, f"drift ({metric.name}) over its floor", ticks)
    top = float(size.max(initial=0.0)) or 1.0
    high = float(np.ceil(np.log10(top)))
    ticks = tuple((power, f"{10**power:.3g}") for power in np.arange(high - 3, high + 1).tolist())
    unit = "" if metric.unit in ("share", "0 to 1") else f" [{metric.unit}]"
    return Scale(False, high - 3, high, f"drift ({metric.name}){unit}, without a floor", ticks)


_OVER_FLOOR = (
    "The colour is how far the site drifted from its reference, a typical unit of it, over what chance alone shows "
    "(its floor): bright is far.",
    "Hatched: not above what chance shows. That is no proof that nothing moved.",
    "A question mark: whether it moved cannot be told; the line under the atlas says why.",
    "Of windows in which nothing moved, 5 % show some site all the same: among many windows, expect a few.",
)

_WITHOUT_FLOOR = (
    "The colour is how far the site drifted from its reference, a typical unit of it, on a logarithmic scale: bright "
    "is far. No floor is known here, or there is none, as with the same inputs in every window.",
    "Hatched: no drift, or none beyond the error of what is kept of a window.",
    "A question mark: whether it moved cannot be told; the line under the atlas says why.",
)


def how_to_read(scale: Scale) -> tuple[str, ...]:
    """Returns what a reader must know of a page, a sentence or two each."""
    colours, *states = _OVER_FLOOR if scale.of_floor else _WITHOUT_FLOOR
    return (
        "Atlas: a row is a site (a watched output of the network, in the order of the model), a column a window of "
        f"training steps. {colours}",
        *states,
        "Marks in a cell: ! activations that are not finite, a dot dead units, a bar near-constant units.",
        "A click, or Enter, on a site opens its units; on a unit its percentiles and densities over windows. Arrow "
        "keys, Page, Home and End move, Esc goes back, / searches.",
        "A triangle is the step at which a site left the band of its own past. What left first need not be the cause.",
    )


GLOSSARY = (
    ("site", "a watched output of the network: of a layer, or of a normalisation"),
    ("unit", "a column of a site: a neuron, a channel"),
    ("step", "a step of the optimizer"),
    ("window", "consecutive steps that are summarised together"),
    ("phase", "train, eval, a label of the training's own, or probe: the same inputs after every window"),
    ("drift", "the distance between the activations of a unit in a window and in its reference"),
    ("floor", "what the same distance shows if nothing moved: sampling noise, from exchanging blocks of steps"),
    (
        "moved",
        "share of units that moved beyond noise (≥ where that cannot be told of all); of windows in which nothing "
        "moved, at most 5 % show any site",
    ),
    ("band", "from the smallest to the largest value of a site's past, widened: what its next steps should lie in"),
    ("dead", "a ReLU's input that was never above 0"),
    ("near-constant", "an sd of at most 5 % of what is usual at the site"),
    ("†", "mean and sd are set by the layer's own weight and bias: only shape is news"),
)
