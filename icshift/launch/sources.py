"""What DataLoaders draw from: the same data are known again, also where a loader is made anew every epoch."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StandIn:
    """What a loader that somebody makes anew for every pass draws from, and what the pass is for."""

    dataset: Any
    role: str
    sampler: None = None


class Source:
    """Data that loaders draw from: a data set, or those of its examples that a sampler names.

    >>> data = range(6)
    >>> class Loader:
    ...     dataset, sampler = data, None
    >>> sources = Sources()
    >>> one, other = Loader(), Loader()
    >>> sources.of(one) is sources.of(one)
    True
    """

    def __init__(self, loader: Any) -> None:
        self.adopt(loader)

    def adopt(self, loader: Any) -> None:
        """Belong to this loader and its data from now on."""
        self._loader = _reference(loader)
        self._identity = _identity(loader)
        self._kind = _kind(loader)

    @property
    def gone(self) -> bool:
        """Whether neither the loader nor the data are there any more."""
        return self._loader() is None and all(part() is None for part in self._identity)

    def holds(self, loader: Any) -> bool:
        """Whether a loader draws from this source."""
        if self._loader() is loader:
            return True
        own, given = ([part() for part in identity] for identity in (self._identity, _identity(loader)))
        return len(own) == len(given) > 0 and all(a is b and a is not None for a, b in zip(own, given, strict=True))

    def is_like(self, loader: Any) -> bool:
        """Whether a loader draws from data of the same type and length."""
        return self._kind == _kind(loader)


class Sources:
    """All that was drawn from so far."""

    def __init__(self) -> None:
        self._known: list[Source] = []

    def of(self, loader: Any) -> Source:
        """Returns the source of a loader.

        It is one that is known where the loader, or its data set and the examples that its sampler names, are the same
        objects, or where they are like one that is gone: such is made anew for every pass.
        """
        for source in self._known:
            if source.holds(loader):
                return source
        for source in self._known:
            if source.gone and source.is_like(loader):
                source.adopt(loader)
                return source
        self._known.append(Source(loader))
        return self._known[-1]


def _identity(loader: Any) -> list[Callable[[], Any]]:
    """References to the data set and to what tells the examples drawn from it; none where there can be none."""
    dataset, sampler = getattr(loader, "dataset", None), _sampler(loader)
    chosen = getattr(sampler, "indices", None)
    parts = [dataset] if chosen is None else [dataset, sampler]
    references = [_reference(part) for part in parts]
    return references if all(reference() is not None for reference in references) else []


def _sampler(loader: Any) -> Any:
    batches = getattr(loader, "batch_sampler", None)
    return getattr(batches, "sampler", None) or getattr(loader, "sampler", None)


def _kind(loader: Any) -> tuple[Any, ...]:
    dataset, sampler = getattr(loader, "dataset", None), _sampler(loader)
    role = loader.role if isinstance(loader, StandIn) else None
    return type(dataset), _length(dataset), _length(getattr(sampler, "indices", None)), role


def _length(data: Any) -> int | None:
    with suppress(Exception):  # A data set of the user's own may say anything.
        return len(data)
    return None


def _reference(thing: Any) -> Callable[[], Any]:
    """A weak reference, to nothing where there can be none: what the training drops must be freed."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: None
