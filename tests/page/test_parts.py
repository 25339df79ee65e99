"""The words of what drifts are made of: marks are explained where there are any, and nowhere else."""

from dataclasses import replace

import numpy as np

from icshift.page.look import CHANCE
from icshift.page.parts import caption
from tests.page.pages import page_of_sites


def test_a_caption_explains_the_marks_that_are_there():
    page = page_of_sites(sites=1, windows=3)
    assert "†" not in caption(page)
    site = page.sites[0]
    codes, shares = site.codes.copy(), site.parts.copy()
    codes[1], shares[2] = CHANCE, np.nan
    said = caption(replace(page, sites=(replace(site, codes=codes, parts=shares, affine=True),)))
    for words in ("faint = the drift is not above what chance", "† = mean and sd are set by", "empty = the shares"):
        assert words in said


def test_nothing_faint_is_told_of_where_all_is_above_chance():
    page = page_of_sites(sites=1, windows=3)
    codes = np.where(page.sites[0].codes == CHANCE, 200, page.sites[0].codes)
    assert "faint" not in caption(replace(page, sites=(replace(page.sites[0], codes=codes),)))
