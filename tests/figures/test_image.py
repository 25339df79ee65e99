"""The picture of many cells: read back pixel by pixel, a code is a code."""

import struct
import zlib

import numpy as np
import pytest

from icshift.figures.image import GROUND, STRIPE, as_url, palette, png, stretched
from icshift.page.look import CHANCE, LEVELS, LOWEST, PALETTES, THEMES


def read(picture):
    """Indices and palette of a PNG that has one chunk of each kind."""
    parts, at = {}, 8
    while at < len(picture):
        size, name = struct.unpack(">I4s", picture[at : at + 8])
        parts[name] = picture[at + 8 : at + 8 + size]
        assert struct.unpack(">I", picture[at + 8 + size : at + 12 + size])[0] == zlib.crc32(name + parts[name])
        at += 12 + size
    columns, rows = struct.unpack(">II", parts[b"IHDR"][:8])
    lines = np.frombuffer(zlib.decompress(parts[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:], np.frombuffer(parts[b"PLTE"], np.uint8).reshape(-1, 3)


def test_pixels_are_codes_and_colours_those_of_the_page():
    codes = np.random.default_rng(0).integers(LOWEST, 256, (7, 5)).astype(np.uint8)
    indices, colours = read(png(stretched(codes, 4, 3), palette(THEMES["light"])))
    np.testing.assert_array_equal(indices[::3, ::4], codes)
    anchors = np.array([[int(one[at : at + 2], 16) for at in (1, 3, 5)] for one in PALETTES["viridis"]], float)
    for code in (10, 57, 200, 255):
        at = (code - LOWEST) / (LEVELS - 1) * (len(anchors) - 1)
        expected = [np.interp(at, range(len(anchors)), anchors[:, channel]) for channel in range(3)]
        assert colours[code].tolist() == pytest.approx(expected, abs=0.51)


def test_what_is_not_above_chance_is_hatched_and_nothing_else():
    codes = np.array([[CHANCE, 100]], np.uint8)
    picture = stretched(codes, 12, 12)
    assert set(picture[:-1, :12].ravel()) == {CHANCE, STRIPE}
    assert set(picture[:-1, 12:].ravel()) == {100}
    assert set(picture[-1]) == {GROUND}
    assert set(stretched(codes, 2, 2).ravel()) == {CHANCE, 100}


def test_it_is_its_own_address():
    assert as_url(b"\x89PNG") == "data:image/png;base64,iVBORw=="
