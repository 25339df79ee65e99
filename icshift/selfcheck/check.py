"""A check: a published finding or a closed form, the condition under which it holds here, and what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Setting:
    """How checks are run: all that is random follows from `seed`; `quick` takes fewer steps and fewer networks."""

    seed: int = 0
    quick: bool = False


@dataclass(frozen=True)
class Compared:
    """A value that icshift found, and the one that a formula or another implementation expects."""

    found: float
    expected: float

    @property
    def error(self) -> float:
        """The error of what was found, relative to what was expected; absolute where that is 0."""
        return abs(self.found - self.expected) / (abs(self.expected) or 1.0)


def worst_of(compared: Mapping[str, Compared]) -> tuple[str, float]:
    """The name and the error of the value that is furthest off; what is not a number is infinitely far off."""
    errors = {name: float(np.nan_to_num(one.error, nan=np.inf)) for name, one in compared.items()}
    name = max(errors, key=lambda name: errors[name])
    return name, errors[name]


@dataclass(frozen=True)
class Finding:
    """What a check found: whether its condition holds, and on what grounds.

    `measured` and `ran` say in words what was measured and what was run for it, with n; `numbers` has the bare values.
    """

    passed: bool
    measured: str
    ran: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Check:
    """A published finding, or what is known by a closed form, and how to reproduce it.

    `claim` is what the `source` found, `expected` the condition on what `find` measures, in words.
    """

    name: str
    claim: str
    source: str
    expected: str
    find: Callable[[Setting], Finding]


@dataclass(frozen=True)
class Result:
    """A check, its finding and its duration; trainings that several checks share count for the first of them."""

    check: Check
    finding: Finding
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The result as plain values, for reports and JSON."""
        check, finding = self.check, self.finding
        return {
            "check": check.name,
            "passed": finding.passed,
            "claim": check.claim,
            "source": check.source,
            "expected": check.expected,
            "measured": finding.measured,
            "ran": finding.ran,
            "numbers": dict(finding.numbers),
            "seconds": round(self.seconds, 2),
        }


def figure(value: float) -> str:
    """A number in three significant digits; from 1,000 on all its digits, in groups."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def power(value: float) -> str:
    """A number as one digit and a power of ten: 1e-6."""
    return f"{value:.0e}".replace("e-0", "e-")
