"""By how much recording lengthens a training, in words, and where that is not known."""

from __future__ import annotations

_LEAST_REST = 0.01
"""Of a time, the rest beside recording that can be told from none: both are estimates of a few percent."""


def added_share(recording: float, wall: float) -> float | None:
    """Returns the seconds of recording as a share of the rest of `wall` seconds, which they are part of.

    None where there is next to no rest: then it would be a ratio to an error.

    >>> added_share(1.0, 5.0), added_share(5.0, 5.0)
    (0.25, None)
    """
    rest = wall - recording
    return recording / rest if rest > _LEAST_REST * wall else None


def in_percent(recording: float, wall: float, *, sign: str = "+") -> str:
    """Returns the share in words, after a sign such as "at least +".

    >>> in_percent(1.0, 5.0), in_percent(4.999, 5.0), in_percent(0.0, 0.0)
    ('+25 %', 'nearly all of the time', '–')
    """
    share = added_share(recording, wall)
    if share is not None:
        return f"{sign}{100 * share:.0f} %"
    return "nearly all of the time" if wall > 0 else "–"
