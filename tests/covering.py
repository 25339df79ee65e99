"""What is left to `.ci/thorough`: of a grid of parameters all but every value or every pair of values, and repetitions.

`@pytest.mark.covering(1)` on a test keeps so many of its cases that every value of every parameter is in one of them,
`covering(2)` every pair of values of two parameters. The other cases are `thorough`: `.ci/thorough` runs them.
"""

import os
from collections import Counter, defaultdict
from itertools import combinations

import pytest


def often(by_default, thoroughly):
    """How often something is repeated, or what it is repeated on."""
    return thoroughly if os.environ.get("ICSHIFT_THOROUGH") else by_default


@pytest.hookimpl(tryfirst=True)  # `-m` chooses by what is marked until then.
def pytest_collection_modifyitems(items):
    """Give the mark `thorough` to the cases of marked tests that add nothing to the others."""
    grids = defaultdict(list)
    for item in items:
        if item.get_closest_marker("covering") is not None:
            grids[item.parent, item.originalname].append(item)
    for cases in grids.values():
        (strength,) = cases[0].get_closest_marker("covering").args
        kept = covering([tuple(case.callspec._idlist) for case in cases], strength)
        for place, case in enumerate(cases):
            if place not in kept:
                case.add_marker("thorough")


def covering(cases: list[tuple[object, ...]], strength: int) -> set[int]:
    """Places of a few cases in which every combination of the values of `strength` axes is that is in any case."""
    needed = {place: set(_combinations(case, strength)) for place, case in enumerate(cases)}
    missing = set().union(*needed.values())
    used: Counter[tuple[int, object]] = Counter()
    kept: set[int] = set()
    while missing:
        # Of those that add as much the one whose values were taken least.
        best = max(needed, key=lambda place: (len(needed[place] & missing), -_times(used, cases[place]), -place))
        missing -= needed.pop(best)
        used.update(enumerate(cases[best]))
        kept.add(best)
    return kept


def _times(used: Counter[tuple[int, object]], case: tuple[object, ...]) -> int:
    return sum(used[place] for place in enumerate(case))


def _combinations(case: tuple[object, ...], strength: int):
    return combinations(enumerate(case), min(strength, len(case)))
