"""Which segments of which series a file holds: it says so in its metadata, so that none is read under another's name.

Rows of a series tell of their steps, not of the segment that they were written in: a file that was copied over another
would be read as that one. The metadata are under the checksum of the footer (see `sealed.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from icshift import regular
from icshift.runs.parts import Part
from icshift.runs.typed import entries, text, whole

SEGMENT = b"icshift_segment"
"""The key in the metadata of a file of a series: `series`, and the numbers `first` to `last`, as JSON."""

_SEGMENT = entries({"series": text, "first": whole(), "last": whole()}, {})


def about(series: str, first: int, last: int) -> dict[bytes, bytes]:
    """Returns what a file of these segments says of itself in its metadata."""
    return {SEGMENT: json.dumps({"series": series, "first": first, "last": last}).encode()}


def refuse_other(metadata: Mapping[bytes, bytes], part: Part, series: str) -> None:
    """Raises `ValueError` where a file says that it holds other segments than its name, or of another series.

    Files of older versions say nothing, and pass.
    """
    if SEGMENT not in metadata:
        return
    told = regular.parsed(metadata[SEGMENT])
    _SEGMENT(told, SEGMENT.decode())
    if (told["series"], told["first"], told["last"]) != (series, part.first, part.last):
        what = (
            f"segment {told['first']}"
            if told["first"] == told["last"]
            else f"segments {told['first']} to {told['last']}"
        )
        raise ValueError(f"it holds {what} of {told['series'][:60]}, and stands in the place of another")
