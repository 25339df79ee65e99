"""What is left to `.ci/thorough`: of a grid of parameters all but every value or every pair of values, and repetitions.

`@pytest.mark.covering(1)` on a test keeps so many of its cases that every value of every parameter is in one of them,
`covering(2)` every pair of values of two parameters. `@pytest.mark.some(8)` keeps 8 of the cases (of those that
`covering` has left), each as far from the next in their order as the others are. It is for cases of one kind: models or
distributions of a zoo, seeds, sizes, all of which are expected to pass for one reason. Which they are depends on the
name of the test, so that tests of one zoo take different animals, and all are seen by some test.

The other cases are `thorough`: `.ci/thorough` runs them.
"""

import os
from collections import Counter, defaultdict
from itertools import combinations
from zlib import crc32

import pytest


def often(by_default, thoroughly):
    """How often something is repeated, or what it is repeated on."""
    return thoroughly if os.environ.get("ICSHIFT_THOROUGH") else by_default


@pytest.hookimpl(tryfirst=True)  # `-m` chooses by what is marked until then.
def pytest_collection_modifyitems(items):
    """Give the mark `thorough` to the cases of marked tests that add nothing to the others."""
    for cases in _marked(items, "covering"):
        (strength,) = cases[0].get_closest_marker("covering").args
        _keep(cases, covering([tuple(case.callspec._idlist) for case in cases], strength))
    for cases in _marked(items, "some"):
        (number,) = cases[0].get_closest_marker("some").args
        left = [case for case in cases if case.get_closest_marker("thorough") is None]
        _keep(left, some(len(left), number, cases[0].originalname))


def _marked(items, mark: str):
    """The cases of each test that has the mark."""
    found = defaultdict(list)
    for item in items:
        if item.get_closest_marker(mark) is not None:
            found[item.parent, item.originalname].append(item)
    return found.values()


def _keep(cases, places: set[int]):
    for place, case in enumerate(cases):
        if place not in places:
            case.add_marker("thorough")


def some(count: int, number: int, name: str) -> set[int]:
    """`number` places of `count`, evenly apart around the circle, from one that depends on the name."""
    first = crc32(name.encode())
    return {(first + count * step // number) % count for step in range(min(number, count))}


def covering(cases: list[tuple[object, ...]], strength: int) -> set[int]:
    """Places of a few cases in which every combination of the values of `strength` axes is that is in any case."""
    needed = {place: set(_combinations(case, strength)) for place, case in enumerate(cases)}
    missing = set().union(*needed.values())
    used: Counter[tuple[int, object]] = Counter()
    kept: set[int] = set()
    while missing:
        # Of those that add as much the one whose values were taken least.
        adds = {place: len(found & missing) for place, found in needed.items()}
        most = max(adds.values())
        best = min((place for place in needed if adds[place] == most), key=lambda place: _times(used, cases[place]))
        missing -= needed.pop(best)
        used.update(enumerate(cases[best]))
        kept.add(best)
    return kept


def _times(used: Counter[tuple[int, object]], case: tuple[object, ...]) -> int:
    return sum(used[place] for place in enumerate(case))


def _combinations(case: tuple[object, ...], strength: int):
    return combinations(enumerate(case), min(strength, len(case)))
