"""What of a page stays where it is too large for one file: fewer units, fewer pictures of units, windows in pairs.

The bytes of a page are measured, never predicted: noise does not compress, networks at rest do. The atlas of all sites
and windows is never folded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from icshift.analysis.pictures import Densities, Fans, half_and_half
from icshift.page.look import LOWEST
from icshift.page.model import Ints, Page, SiteOnPage, Units


@dataclass(frozen=True)
class Fold:
    """At most so many units a site, percentiles over windows and densities of so many; windows of units `paired`."""

    units: int
    fans: int
    densities: int
    paired: bool = False


LADDER = (
    Fold(1024, 32, 32),
    Fold(1024, 32, 16),
    Fold(512, 32, 16),
    Fold(512, 16, 16),
    Fold(256, 16, 8),
    Fold(128, 16, 8),
    Fold(128, 16, 8, paired=True),
    Fold(32, 8, 4, paired=True),
)
"""From all to little; the first that fits is taken, the last one in any case."""


def bound_of(sizes: Sequence[tuple[int, int]]) -> int:
    """Returns how many bytes a page may have, given the number of sites and of windows of each of its runs.

    5 MB up to 60 sites and 50 windows, 15 MB from 200 and 100 on.

    >>> bound_of([(60, 50)]), bound_of([(100, 100), (100, 100)])
    (5000000, 15000000)
    """
    cells, few, many = sum(sites * windows for sites, windows in sizes), 60 * 50, 200 * 100
    return int(5e6 + 1e7 * min(max(cells - few, 0) / (many - few), 1.0))


def folded(page: Page, fold: Fold) -> Page:
    """Returns the page with what stays of every site."""
    return replace(page, sites=tuple(_folded(site, fold) for site in page.sites))


def in_words(page: Page, fold: Fold) -> tuple[str, ...]:
    """Returns what was left out of a page, one sentence each; none where nothing was."""
    most = max((len(site.units.ids) for site in page.sites), default=0)
    pictured = max((len(site.fans.places) for site in page.sites), default=0)
    said = []
    if most > fold.units:
        said.append(
            f"Of sites with more units {fold.units:,} are here: half went farthest over their floor in some window, "
            "half are at even ranks of the rest."
        )
    if most > min(pictured, fold.fans):
        said.append(f"Percentiles over windows are of up to {fold.fans} units a site, densities of {fold.densities}.")
    if fold.paired:
        said.append("Windows of units are drawn in pairs, the larger of both; the atlas has every window.")
    return tuple(said)


def _folded(site: SiteOnPage, fold: Fold) -> SiteOnPage:
    fans = site.fans.places[half_and_half(len(site.fans.places), fold.fans)]
    dense = fans[half_and_half(len(fans), fold.densities)]
    kept = np.union1d(half_and_half(len(site.units.ids), fold.units), fans)
    codes = site.units.codes[kept]
    return replace(
        site,
        units=Units(
            site.units.ids[kept],
            site.units.worst[kept],
            site.units.worst_window[kept],
            _paired(codes) if fold.paired else codes,
        ),
        fans=Fans(np.searchsorted(kept, fans), site.fans.quantiles[_places_of(fans, site.fans.places)]),
        densities=_dense(site.densities, dense, kept),
    )


def _dense(densities: Densities, wanted: Ints, kept: Ints) -> Densities:
    rows = _places_of(wanted, densities.places)
    return Densities(np.searchsorted(kept, wanted), densities.windows, densities.edges[rows], densities.heights[rows])


def _places_of(wanted: Ints, known: Ints) -> Ints:
    order = np.argsort(known)
    return np.asarray(order[np.searchsorted(known, wanted, sorter=order)], np.int64)


def _paired(codes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Returns the larger of every two windows [units, windows / 2]; what is on the scale counts more than what is not.

    Reserved codes lie below the scale, so that the larger code is the farther drift.
    """
    assert LOWEST > 0
    return np.maximum.reduceat(codes, np.arange(0, codes.shape[1], 2), axis=1) if codes.shape[1] else codes
