"""What is left out of a page that would be too large, and that it is said."""

import numpy as np
import pytest

from icshift.page.fold import LADDER, Fold, bound_of, folded, in_words
from tests.page.pages import page_of_sites


def test_the_bound_is_that_of_the_sizes_that_were_promised():
    assert bound_of([(60, 50)]) == 5_000_000
    assert bound_of([(1, 1)]) == 5_000_000
    assert bound_of([(200, 100)]) == bound_of([(1000, 500), (1000, 500)]) == 15_000_000


@pytest.mark.parametrize("fold", LADDER)
def test_what_stays_is_what_was_there(fold):
    page = page_of_sites(sites=1, units=700, windows=9, noise=True)
    site, left = page.sites[0], folded(page, fold).sites[0]
    assert len(left.fans.places) == min(fold.fans, 32)
    assert len(left.densities.places) == min(fold.densities, len(left.fans.places))
    assert min(700, fold.units) <= len(left.units.ids) <= fold.units + fold.fans
    where = [site.units.ids.tolist().index(unit) for unit in left.units.ids]
    assert where == sorted(where)
    assert set(range(min(fold.units, 700) // 2)) <= set(where)
    for place, fan in zip(left.fans.places, left.fans.quantiles, strict=True):
        at = site.fans.places.tolist().index(where[place])
        np.testing.assert_array_equal(fan, site.fans.quantiles[at])
    for place, heights in zip(left.densities.places, left.densities.heights, strict=True):
        at = site.densities.places.tolist().index(where[place])
        np.testing.assert_array_equal(heights, site.densities.heights[at])
    if not fold.paired:
        np.testing.assert_array_equal(left.units.codes, site.units.codes[where])


def test_windows_in_pairs_are_the_larger_of_both():
    page = page_of_sites(sites=1, units=20, windows=5, noise=True)
    codes, paired = page.sites[0].units.codes, folded(page, Fold(1024, 32, 32, paired=True)).sites[0].units.codes
    assert paired.shape == (20, 3)
    np.testing.assert_array_equal(paired[:, 0], codes[:, :2].max(1))
    np.testing.assert_array_equal(paired[:, 2], codes[:, 4])


def test_the_atlas_is_never_folded():
    page = page_of_sites(sites=2, units=300, windows=30)
    left = folded(page, LADDER[-1])
    assert [site.codes.tolist() for site in left.sites] == [site.codes.tolist() for site in page.sites]
    assert left.windows == page.windows


def test_what_was_left_out_is_said_and_nothing_where_nothing_was():
    assert in_words(page_of_sites(units=20), LADDER[0]) == ()
    said = " ".join(in_words(page_of_sites(units=700), LADDER[-1]))
    assert "32 are here: half went farthest" in said
    assert "of up to 8 units a site, densities of 4" in said
    assert "in pairs, the larger of both; the atlas has every window" in said
