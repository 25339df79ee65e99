"""All checks in the order in which they are shown, and running them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from icshift._version import __version__
from icshift.errors import unknown
from icshift.selfcheck import (
    closed_forms,
    deep_linear,
    floor,
    formulas,
    known_changes,
    sigmoid,
    sketch,
    smoothness,
    statistics,
)
from icshift.selfcheck.check import Check, Result, Setting

_LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        *sigmoid.CHECKS,
        *deep_linear.CHECKS,
        *smoothness.CHECKS,
        *statistics.CHECKS,
        *formulas.CHECKS,
        *closed_forms.CHECKS,
        *sketch.CHECKS,
        *floor.CHECKS,
        *known_changes.CHECKS,
    )
}


def checks_named(names: Iterable[str] | None) -> list[Check]:
    """The checks with these names, in the order of `CHECKS`; all for None.

    Raises `SelectionError`, which tells near names, if there is no check of a name.
    """
    if names is None:
        return list(CHECKS.values())
    wanted = list(names)
    for name in wanted:
        if name not in CHECKS:
            raise unknown("check", name, CHECKS)
    return [check for name, check in CHECKS.items() if name in wanted]


def run(checks: Iterable[Check], setting: Setting, *, before: Callable[[Check], None]) -> Iterator[Result]:
    """Runs the checks and yields the result of each as soon as it is there; `before` is called before each check.

    torch computes on one thread from then on; its random state is put back after every check.
    """
    # Steps this small gain nothing from a second thread, and lose much when it is busy.
    torch.set_num_threads(1)
    for check in checks:
        before(check)
        started = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setting.seed)
            finding = check.find(setting)
        yield Result(check, finding, time.perf_counter() - started)


def versions() -> dict[str, str]:
    """What the numbers depend on: icshift and the libraries that are installed."""
    found = {"icshift": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
