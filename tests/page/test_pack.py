"""What a browser reads from a block is what was put in, as exactly as the block says."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.pictures import BINS
from icshift.page.pack import LOST, exact, packed
from tests.page.pages import page_of_sites, site_of


def unpacked(site):
    """The arrays of a block, read as `assets/page.js` reads them."""
    text, size = packed(site)
    raw, at = zlib.decompress(base64.b64decode(text)), 0
    windows = site.fans.quantiles.shape[1]

    def take(kind, *shape):
        nonlocal at
        count = int(np.prod(shape))
        found = np.frombuffer(raw, kind, count, at).reshape(shape)
        at += found.nbytes
        return found

    found = {
        "ids": take("<u4", size["kept"]),
        "worst": take("<f4", size["kept"]),
        "worst_window": take("<i2", size["kept"]),
        "codes": np.cumsum(take("u1", size["columns"], size["kept"]), axis=0, dtype=np.uint8).T,
        "fan_places": take("<u2", size["fans"]),
        "fan_ends": take("<f4", size["fans"], 2),
        "fan_codes": take("<u2", size["fans"], windows, 5),
        "dense_places": take("<u2", size["densities"]),
        "dense_windows": take("<u2", size["ridges"]),
        "dense_ends": take("<f4", size["densities"], 2),
        "heights": take("u1", size["densities"], size["ridges"], BINS // 2),
        "steps": take("<u4", size["steps"]),
        "step_ends": take("<f4", 1, 2),
        "step_codes": take("<u2", 1, size["steps"], 5),
    }
    assert at == len(raw)
    return found


def stretched(codes, ends):
    shape = (-1, *[1] * (codes.ndim - 1))
    low, high = ends[:, 0].reshape(shape), ends[:, 1].reshape(shape)
    return np.where(codes == LOST, np.nan, low + codes / (LOST - 1) * (high - low))


@pytest.mark.parametrize("noise", [True, False])
def test_a_block_gives_back_what_was_packed(noise):
    site = site_of(np.random.default_rng(1), "fc", 50, 9, noise=noise)
    found = unpacked(site)
    for name in ("ids", "worst_window", "codes"):
        np.testing.assert_array_equal(found[name], getattr(site.units, name))
    np.testing.assert_allclose(found["worst"], site.units.worst, rtol=1e-6)
    np.testing.assert_array_equal(found["fan_places"], site.fans.places)
    fans = stretched(found["fan_codes"], found["fan_ends"].astype(float))
    np.testing.assert_allclose(fans, site.fans.quantiles, atol=1e-4)
    pairs = np.stack([found["heights"] & 15, found["heights"] >> 4], axis=-1)
    np.testing.assert_array_equal(pairs.reshape(site.densities.heights.shape), site.densities.heights)
    series = stretched(found["step_codes"], found["step_ends"].astype(float))[0]
    np.testing.assert_allclose(series, site.series.quantiles, atol=1e-4)


def test_what_is_not_known_stays_unknown_and_what_is_wild_does_not_hide_the_rest():
    site = site_of(np.random.default_rng(2), "fc", 4, 6)
    quantiles = site.fans.quantiles.copy()
    quantiles[0, 2], quantiles[1, 3, 4] = np.nan, 1e12
    found = unpacked(replace(site, fans=replace(site.fans, quantiles=quantiles)))
    fans = stretched(found["fan_codes"], found["fan_ends"].astype(float))
    assert np.isnan(fans[0, 2]).all()
    assert np.isfinite(np.delete(fans[0], 2, 0)).all()
    np.testing.assert_allclose(np.delete(fans[1], 3, 0), np.delete(quantiles[1], 3, 0), atol=1e-4)


def test_a_site_without_units_is_a_block_too():
    assert unpacked(site_of(np.random.default_rng(3), "fc", 0, 3))["codes"].shape == (0, 3)


def test_numbers_of_the_atlas_are_exact_to_float32():
    values = np.array([np.nan, 1 / 3, 1e-8])
    found = np.frombuffer(base64.b64decode(exact(values)), "<f4")
    np.testing.assert_array_equal(found, values.astype("f4"))


def test_every_site_of_a_page_can_be_packed():
    for site in page_of_sites(sites=3, units=10, windows=5).sites:
        assert unpacked(site)["codes"].shape == (10, 5)
