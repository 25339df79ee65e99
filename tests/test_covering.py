"""What runs of a grid of parameters: every value or every pair of values, and few cases beside."""

from itertools import combinations, product

import pytest

from tests.covering import covering

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


GRID = """
import pytest

@pytest.mark.covering(1)
@pytest.mark.parametrize("b", "xyz")
@pytest.mark.parametrize("a", [1, 2, 3])
def test_grid(a, b):
    pass

def test_alone():
    pass
"""


@pytest.mark.parametrize(("options", "expected"), [((), 4), (("-m", "thorough"), 6), (("-m", ""), 10)])
def test_the_others_are_thorough(options, expected, tmp_path, request):
    class Seen:
        def pytest_collection_finish(self, session):
            self.names = [item.name for item in session.items]

    (tmp_path / "test_grid.py").write_text(GRID)
    seen, settings = Seen(), ("-c", str(request.config.inipath), "--rootdir", str(tmp_path))
    pytest.main(
        [*settings, "-p", "tests.covering", "--import-mode=importlib", "--collect-only", *options, str(tmp_path)],
        plugins=[seen],
    )
    assert len(seen.names) == expected
    assert "test_grid[1-x]" in seen.names or options == ("-m", "thorough")
