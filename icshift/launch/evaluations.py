"""The names of a model's evaluations, where it is evaluated on several data sets: a phase is of one of them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from icshift.launch.sources import Source
from icshift.runs.phases import EVAL


class Evaluations:
    """Names the forwards of one model in eval mode after what is evaluated on, which `source(inputs)` returns.

    That is `eval-train` for data that it is trained on, as `trains_on` says, else `eval` for the first data and those
    of which nothing is known, `eval-2` for the next, and so on.

    >>> class Loader:
    ...     dataset = sampler = None
    >>> sources = [Source(Loader()) for _ in range(3)]
    >>> drawn = iter([sources[0], sources[1], None, sources[2], sources[1]])
    >>> evaluations = Evaluations(lambda _: next(drawn), lambda source: source is sources[2])
    >>> [evaluations.phase(None) for _ in range(5)]
    ['eval', 'eval-2', 'eval', 'eval-train', 'eval-2']
    """

    def __init__(self, source: Callable[[Any], Source | None], trains_on: Callable[[Source], bool]) -> None:
        self._source = source
        self._trains_on = trains_on
        self._names: WeakKeyDictionary[Source, str] = WeakKeyDictionary()
        self._numbered = 0

    def phase(self, inputs: Any) -> str:
        """Returns the phase of a forward that begins now with these inputs."""
        source = self._source(inputs)
        if source is None:
            return EVAL
        if source not in self._names:
            self._names[source] = self._new(source)
        return self._names[source]

    def _new(self, source: Source) -> str:
        if self._trains_on(source):
            return f"{EVAL}-train"
        self._numbered += 1
        return EVAL if self._numbered == 1 else f"{EVAL}-{self._numbered}"
