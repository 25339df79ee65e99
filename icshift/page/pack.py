"""A site's arrays as bytes: quantised, as differences along windows, deflated, in base64. `assets/page.js` reads them.

One block a site, in this order, little-endian: unit numbers u32 [units], largest ratio f32 [units], its window i16
[units]; codes u8 [windows x units] as differences from the window before; of fans the places u16 [k], ends f32 [k, 2],
percentiles u16 [k, windows, 5]; of densities the places u16 [d], windows u16 [r], ends f32 [d, 2], heights u8 [d, r,
BINS / 2], two to a byte; of the series the steps u32 [s], ends f32 [2], percentiles u16 [s, 5]. The lengths are in the
page's own data, see `write.py`.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from icshift.analysis.over_units import median
from icshift.analysis.pictures import BINS
from icshift.page.model import Floats, SiteOnPage

LOST = 0xFFFF
"""What stands for a percentile that is not known."""

_TAILS = 100.0
"""Where percentiles reach so many times further than is usual, 1 in 65,534 of their range would be coarse: what is
beyond is drawn at the end of the range."""


@np.errstate(over="ignore", invalid="ignore")  # What fits no float32 is infinite on the page.
def packed(site: SiteOnPage) -> tuple[str, dict[str, Any]]:
    """Returns the block of a site as text, and the lengths that it takes to read it."""
    units, fans, densities, series = site.units, site.fans, site.densities, site.series
    fan_ends, fan_codes = _quantised(fans.quantiles)
    ends, codes = _quantised(series.quantiles[None])
    arrays = (
        units.ids.astype("<u4"),
        units.worst.astype("<f4"),
        units.worst_window.astype("<i2"),
        _differences(units.codes),
        *(fans.places.astype("<u2"), fan_ends, fan_codes),
        *(densities.places.astype("<u2"), densities.windows.astype("<u2"), densities.edges.astype("<f4")),
        _nibbles(densities.heights),
        *(series.number.astype("<u4"), ends, codes),
    )
    raw = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    lengths = {
        "kept": len(units.ids),
        "columns": int(units.codes.shape[1]),
        "fans": len(fans.places),
        "densities": len(densities.places),
        "ridges": len(densities.windows),
        "steps": len(series.number),
    }
    return base64.b64encode(zlib.compress(raw, 6)).decode(), lengths


@np.errstate(over="ignore")
def exact(values: Floats) -> str:
    """Returns numbers as float32 in base64: what tables and files of data are made of."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def _differences(codes: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Returns codes [windows, units], each less that of the window before, modulo 256."""
    turned = codes.T.astype(np.int16)
    if len(turned):
        turned[1:] = turned[1:] - turned[:-1]
    return turned.astype(np.uint8)


def _nibbles(heights: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert heights.shape[-1] == BINS
    return np.asarray(heights[..., 0::2] | heights[..., 1::2] << 4, np.uint8)


def _quantised(values: Floats) -> tuple[Floats, np.ndarray[Any, Any]]:
    """Returns the ends f32 [k, 2] and codes u16 of values [k, ..., 5]; `LOST` of what is not finite."""
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    known = np.where(np.isfinite(flat), flat, np.nan)
    ends = np.zeros((len(values), 2))
    for row, each in enumerate(known):
        finite = each[np.isfinite(each)]
        if len(finite):
            middle = median(finite)
            reach = _TAILS * max(median(np.abs(finite - middle)), 1e-30)
            usual = finite[np.abs(finite - middle) <= reach] if reach > 1e-28 else finite
            ends[row] = usual.min(), usual.max()
    ends = ends.astype("<f4").astype(float)
    span = ends[:, 1:] - ends[:, :1]
    place = np.clip((known - ends[:, :1]) / np.where(span > 0, span, 1.0), 0.0, 1.0)
    codes = np.where(np.isnan(place), LOST, np.rint(np.nan_to_num(place) * (LOST - 1))).astype("<u2")
    return ends.astype("<f4"), codes.reshape(values.shape)
