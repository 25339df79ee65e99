"""Who hears what a thread runs through a model: everybody, one listener alone, or nobody.

icshift runs models itself: for probes and replays, whose activations are to be recorded, and for measurements (a
Hessian, the statistics of batch norm), whose forwards and steps are not part of anybody's training. Recorders listen to
the first kind because they ask to, and hear nothing of the second, whoever started it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

_NOBODY = object()


class _Audience(threading.local):
    only: object | None = None
    """The one that hears; None: everybody does."""


_audience = _Audience()


def unheard() -> AbstractContextManager[None]:
    """A block within which no recorder hears what this thread runs."""
    return heard_by(_NOBODY)


@contextmanager
def heard_by(listener: object) -> Iterator[None]:
    """A block within which this listener alone hears what this thread runs."""
    before, _audience.only = _audience.only, listener
    try:
        yield
    finally:
        _audience.only = before


def hears(listener: object) -> bool:
    """Whether a listener is to take notice of what this thread runs now."""
    return _audience.only is None or _audience.only is listener
