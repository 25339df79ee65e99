"""What drifts are made of, change of mean, of sd and of shape, in the words that page and figure have in common."""

from __future__ import annotations

import numpy as np

from icshift.analysis.anatomy import PARTS
from icshift.page.look import CHANCE
from icshift.page.model import Page

TITLE = "Of the drift: change of mean, of sd, of shape"

LEGEND = "share of W2² that is change of"

WORDS = dict(zip(PARTS, ("mean (location)", "sd (scale)", "shape"), strict=True))
"""What the parts are called, in the order in which they are stacked, the first at the foot."""

FAINT = 0.3
"""How opaque parts are of a drift that is not above chance."""


def caption(page: Page) -> str:
    """Returns what the bars are, and what marks among them mean, as far as there are any on the page."""
    said = [
        "Shares of the squared W2 distance, typical over units: normalising could take away change of mean and of sd, "
        "not of shape"
    ]
    if any((site.codes == CHANCE).any() for site in page.sites):
        said.append("faint = the drift is not above what chance shows")
    if any(site.affine for site in page.sites):
        said.append("† = mean and sd are set by the layer's own weight and bias: only shape is news")
    if any(not np.isfinite(site.parts[1:]).all() for site in page.sites):
        said.append("empty = the shares are not known")
    return f"{'; '.join(said)}."
