"""Cells as one indexed picture: of 20,000 cells a PNG has a fortieth of the bytes of as many rectangles."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping

import numpy as np

from icshift.page.look import ABSENT, CHANCE, LEVELS, LOWEST, PALETTES, Codes

DENSE = 2
"""Pixels of the picture to a pixel of the figure: sharp on paper and on screens of high resolution."""

STRIPE, GROUND = 5, 6
"""Indices of a palette that no code has: the stripes of a hatch, and what lies between cells."""


def rgb(colour: str) -> tuple[int, int, int]:
    """Returns red, green and blue of a colour.

    >>> rgb("#21918c")
    (33, 145, 140)
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def palette(theme: Mapping[str, str], anchors: str = "viridis") -> bytes:
    """Returns red, green and blue of 256 indices: codes, `STRIPE` and `GROUND`.

    Colours are mixed linearly in RGB between anchors at equal distances, as on the page.
    """
    table = np.zeros((256, 3), np.uint8)
    table[:LOWEST] = rgb(theme["absent"])
    table[[ABSENT, GROUND]] = rgb(theme["ground"])
    table[STRIPE] = rgb(theme["hatch"])
    known = np.array([rgb(anchor) for anchor in PALETTES[anchors]], float)
    place = np.linspace(0, len(known) - 1, LEVELS)
    for channel in range(3):
        table[LOWEST:, channel] = np.rint(np.interp(place, np.arange(len(known)), known[:, channel]))
    return table.tobytes()


def stretched(codes: Codes, wide: int, high: int) -> Codes:
    """Returns cells [rows, columns] as pixels, each so wide and high; what is not above chance is hatched."""
    picture = codes.repeat(high, 0).repeat(wide, 1)
    if min(wide, high) >= 3 * DENSE:
        row, column = np.indices(picture.shape)
        picture[(picture == CHANCE) & ((row + column) % (4 * DENSE) < DENSE)] = STRIPE
        picture[high - 1 :: high] = GROUND
    return picture


def png(indices: Codes, colours: bytes) -> bytes:
    """Returns an indexed PNG of indices [rows, columns] (W3C, Portable Network Graphics, third edition)."""
    rows, columns = indices.shape
    lines = np.zeros((rows, columns + 1), np.uint8)
    lines[:, 1:] = indices
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)
    parts = (b"IHDR", header), (b"PLTE", colours), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def as_url(picture: bytes) -> str:
    """Returns a PNG as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
