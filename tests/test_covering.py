"""What runs of a grid of parameters: every value or every pair of values, and few cases beside; some of one kind."""

from collections import Counter
from itertools import combinations, product

import pytest

from tests.covering import covering, some

GRIDS = [(5,), (4, 3), (4, 4), (5, 3, 2), (3, 3, 3), (2, 2, 2, 2, 2)]


@pytest.mark.parametrize("sizes", GRIDS, ids=str)
def test_every_value_is_in_one_of_as_many_cases_as_the_longest_axis_has(sizes):
    cases = [*product(*map(range, sizes))]
    kept = [cases[place] for place in covering(cases, 1)]
    assert len(kept) == max(sizes)
    assert [set(values) for values in zip(*kept, strict=True)] == [set(range(size)) for size in sizes]


@pytest.mark.parametrize("sizes", GRIDS[1:], ids=str)
def test_every_pair_of_values_is_in_one(sizes):
    cases = [*product(*map(range, sizes))]
    kept = [cases[place] for place in covering(cases, 2)]
    for a, b in combinations(range(len(sizes)), 2):
        assert {(case[a], case[b]) for case in kept} == {*product(range(sizes[a]), range(sizes[b]))}
    assert len(kept) <= 2 * max(a * b for a, b in combinations(sizes, 2))


def test_of_what_is_no_whole_product_every_value_that_is_there_is_kept():
    cases = [(0, 0), (0, 1), (1, 1), (2, 1)]
    assert {cases[place] for place in covering(cases, 1)} == {(0, 0), (1, 1), (2, 1)}


@pytest.mark.parametrize(("count", "number"), [(80, 8), (7, 3), (3, 1), (2, 5), (0, 4)])
def test_some_are_evenly_apart_and_others_for_another_test(count, number):
    kept = sorted(some(count, number, "test_one"))
    assert len(kept) == min(count, number)
    gaps = [(b - a) % count for a, b in zip(kept, [*kept[1:], *kept[:1]], strict=True)] if number > 1 else []
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert len({tuple(sorted(some(count, number, f"test_{n}"))) for n in range(99)}) > 1 or number >= count


GRID = """
import pytest

@pytest.mark.covering(1)
@pytest.mark.parametrize("b", "xyz")
@pytest.mark.parametrize("a", [1, 2, 3])
def test_grid(a, b):
    pass

@pytest.mark.some(4)
@pytest.mark.parametrize("animal", [pytest.param(0, marks=pytest.mark.thorough), *range(1, 10)])
def test_zoo(animal):
    pass

@pytest.mark.some(2)
@pytest.mark.covering(1)
@pytest.mark.parametrize("b", "xyz")
@pytest.mark.parametrize("a", [1, 2, 3])
def test_both(a, b):
    pass

def test_alone():
    pass
"""


def test_the_others_are_thorough(tmp_path, request):
    class Seen:
        def pytest_collection_finish(self, session):
            self.items = session.items

    (tmp_path / "test_grid.py").write_text(GRID)
    seen, settings = Seen(), ("-c", str(request.config.inipath), "--rootdir", str(tmp_path), "-m", "")
    pytest.main(
        [*settings, "-p", "tests.covering", "--import-mode=importlib", "--collect-only", str(tmp_path)], plugins=[seen]
    )
    left = [item for item in seen.items if item.get_closest_marker("thorough") is None]
    counts = [Counter(item.originalname for item in items) for items in (seen.items, left)]
    assert counts[0] == {"test_grid": 9, "test_zoo": 10, "test_both": 9, "test_alone": 1}
    assert counts[1] == {"test_grid": 3, "test_zoo": 4, "test_both": 2, "test_alone": 1}
    assert "test_grid[1-x]" in [item.name for item in left]
    assert "test_zoo[0]" not in [item.name for item in left]
