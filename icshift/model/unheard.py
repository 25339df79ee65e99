"""Who hears what a thread runs through a model: everybody, one listener alone, or nobody.

icshift runs models itself: for probes and replays, whose activations are to be recorded, and for measurements (a
Hessian, the statistics of batch norm), whose forwards and steps are not part of anybody's training. Recorders listen to
the first kind because they ask to, and hear nothing of the second, whoever started it. Another thread that trains in
the meantime is heard as ever. The threads that `DataParallel` starts for its replicas do what the thread that waits for
them does; threads that a closure starts in ways of its own are heard as any other.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType

from torch.cuda import is_initialized as is_in_use

from icshift.model.cuda_graphs import is_captured

_NOBODY = object()

only: dict[int, object] = {}
"""The one listener that hears a thread (by its ident); of threads that are not in here everybody hears."""


def unheard() -> AbstractContextManager[None]:
    """A block within which no recorder hears what this thread runs."""
    return heard_by(_NOBODY)


@contextmanager
def heard_by(listener: object) -> Iterator[None]:
    """A block within which this listener alone hears what this thread runs; blocks may lie within one another."""
    thread = threading.get_ident()
    before = only.get(thread)
    try:
        only[thread] = listener
        yield
    finally:
        if before is None:
            only.pop(thread, None)
        else:
            only[thread] = before


def hears(listener: object) -> bool:
    """Whether a listener is to take notice of what this thread runs now: nobody is, of what a CUDA graph captures."""
    if is_in_use() and is_captured():
        return False
    if not only:
        return True
    alone = only.get(threading.get_ident()) or _of_the_thread_that_waits()
    return alone is None or alone is listener


def _of_the_thread_that_waits() -> object | None:
    """Where this thread runs a replica: the one listener that hears the thread which started it."""
    me, stacks = threading.current_thread(), sys._current_frames()
    for thread, listener in list(only.items()):
        frame: FrameType | None = stacks.get(thread)
        while frame is not None:
            # The variable of `parallel_apply` in which DataParallel keeps the threads that it starts and waits for.
            threads = frame.f_locals.get("threads") if "threads" in frame.f_code.co_varnames else None
            if isinstance(threads, list) and any(started is me for started in threads):
                return listener
            frame = frame.f_back
    return None
