"""A published finding, what has to be measured for it to hold here, and what was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What is run: everything random follows from `seed`; `quick` takes fewer steps and fewer networks."""

    seed: int = 0
    quick: bool = False


@dataclass(frozen=True)
class Finding:
    """`measured` and `ran` in words, with n; `numbers` alone by name; and whether the condition holds."""

    passed: bool
    measured: str
    ran: str
    numbers: Mapping[str, float]


@dataclass(frozen=True)
class Check:
    """`claim` is of the `source`, `expected` the condition on what `find` measures."""

    name: str
    claim: str
    source: str
    expected: str
    find: Callable[[Setting], Finding]


@dataclass(frozen=True)
class Result:
    """What one check found; trainings that several checks share count for the first of them."""

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
    """Three significant digits, thousands in groups."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def power(value: float) -> str:
    """One digit and a power of ten, as 1e-6."""
    return f"{value:.0e}".replace("e-0", "e-")
