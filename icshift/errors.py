"""Every error that icshift raises on purpose.

IcshiftError
├── RunError          a run directory is missing, is no run, is too new, or exists already
├── SelectionError    a site, unit, metric, phase, window or reference that is not there
├── RecordingError    a recording that cannot start or saw nothing
├── MeasurementError  a loss, or what is asked of it, that cannot be measured
└── ModelError        a saved model, a model's spec or data that cannot be used

The command line catches `IcshiftError` in one place, prints one line on stderr and exits with 2.
"""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 12
"""Names of a list that a message holds, at most: a run may have thousands."""


class IcshiftError(Exception):
    """Base of all errors that icshift raises on purpose."""


class RunError(IcshiftError):
    """A run directory is missing, is no run, is too new, or exists already."""


class SelectionError(IcshiftError):
    """A site, unit, metric, phase, window or reference that is not there."""


class RecordingError(IcshiftError):
    """A recording that cannot start or saw nothing."""


class MeasurementError(IcshiftError):
    """A loss, or what is asked of it, that cannot be measured."""


class ModelError(IcshiftError):
    """A saved model, a model's spec or data that cannot be used."""


def listed(names: Iterable[object], none: str = "none") -> str:
    """The first twelve names, and how many more there are; the word for `none` where there is no name.

    >>> listed("ab"), listed([]), listed(range(14))
    ('a, b', 'none', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, and 2 more')
    """
    every = [str(name) for name in names]
    more = [f"and {len(every) - _NAMED:,} more"] if len(every) > _NAMED else []
    return ", ".join(every[:_NAMED] + more) or none


def unknown(kind: str, given: object, known: Iterable[object]) -> SelectionError:
    """A `SelectionError` for a name that is not there; the caller raises it.

    Its message names up to three known names that are spelt almost so, or the first twelve where there are none.

    >>> str(unknown("site", "fc3", ["fc1", "fc2", "norm1"]))
    "no site 'fc3'; did you mean fc2 or fc1?"
    >>> str(unknown("phase", "validation", ["train", "eval"]))
    "no phase 'validation'; known: train, eval"
    """
    from difflib import get_close_matches  # A tenth of what `icshift --help` takes.

    names = [str(name) for name in known]
    near = get_close_matches(str(given), names, n=3, cutoff=0.5)
    remedy = f"known: {listed(names)}" if names else "there is none"
    if near:
        remedy = f"did you mean {' or '.join(near)}?"
    return SelectionError(f"no {kind} {str(given)!r}; {remedy}")


def message_of(error: BaseException) -> str:
    """What an error says, on one line of at most 300 characters.

    >>> message_of(ValueError("two\\n  lines"))
    'two lines'
    """
    return " ".join(str(error).split())[:300]


ONE_PROCESS = (
    "overhead is for trainings of one process, and this one has {}: they would have to wait for each other to leave "
    "the same steps out; leave overhead away to record every step"
)
