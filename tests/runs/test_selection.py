"""Sites are chosen by name or glob, the same way everywhere."""

import pytest

from icshift.errors import SelectionError
from icshift.runs.selection import choose
from tests.recorded import site

SITES = [site("fc.a"), site("fc.b"), site("lstm[0]")]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (None, ["fc.a", "fc.b", "lstm[0]"]),
        ("fc.a", ["fc.a"]),
        ("*.b", ["fc.b"]),
        (["fc.*"], ["fc.a", "fc.b"]),
        (("fc.b", "fc.a"), ["fc.a", "fc.b"]),
        ("lstm[0]", ["lstm[0]"]),
        ([], []),
    ],
    ids=str,
)
def test_names_and_globs_in_order_of_the_model(names, chosen):
    assert [one.name for one in choose(SITES, names)] == chosen


def test_any_iterable_of_names():
    assert [one.name for one in choose(SITES, iter(["fc.b", "fc.a"]))] == ["fc.a", "fc.b"]


@pytest.mark.parametrize("names", ["fc.c", ["fc.a", "fc.c"], "conv*"])
def test_what_matches_nothing_is_refused(names):
    with pytest.raises(SelectionError, match="no site"):
        choose(SITES, names)
