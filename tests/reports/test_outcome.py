"""The verdict in words: every sentence, and none that says more than is known."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.metrics import METRICS
from icshift.analysis.outcome import Outcome
from icshift.noise.dependence import Dependence
from icshift.noise.movement import DEPENDENT
from icshift.reports.outcome import correlation, verdict

NONE = Dependence(0.01, -0.02, False, 2.0, 16)
LARGE = Dependence(0.41, 0.2, True, 2.0, 16)


def outcome(moved=(), still=(), unknown=None, since="", always=False, dependence=NONE, same_examples=False):
    return Outcome(tuple(moved), tuple(still), unknown or {}, since, always, dependence, same_examples)


def said(found, metric="w1_sd", noiseless=False, **columns):
    """The sentences on a table of these sites, of which each has a larger drift and ratio than the one before."""
    names = [*found.moved, *found.still, *(site for sites in found.unknown.values() for site in sites)]
    size = np.arange(1, len(names) + 1)
    values = {
        "window": 2,
        "name": "2",
        "drift": 0.1 * size,
        "ratio": np.nan if noiseless else 2.0 * size,
        "noiseless": noiseless,
        "moved": 0.5,
        "moved_untold": 0,
    }
    return verdict(found, pd.DataFrame({"site": names} | values | columns), METRICS[metric])


def test_nothing_moved():
    assert said(outcome(still=["a", "b", "c"])) == ["No evidence that any of 3 sites moved beyond noise."]
    assert said(outcome(still=["a"])) == ["No evidence that a moved beyond noise."]


def test_some_moved():
    assert said(outcome(moved=["a", "b"], still=["c"], since="epoch 3")) == [
        "Moved beyond noise: 2 of 3 sites (a and b); most b: 50% of its units, median 0.200 sd or 4.0 times its floor. "
        "In every window since epoch 3 some site moved.",
        "No evidence that c moved.",
    ]


def test_a_share_is_the_least_that_it_can_be():
    (first,) = said(outcome(moved=["a"], since="2"), moved_untold=3)
    assert first.startswith("Moved beyond noise: a; at least 50% of its units, median 0.100 sd or 2.0 times its floor.")


def test_all_moved_always():
    assert said(outcome(moved=["a", "b"], since="1", always=True)) == [
        "Moved beyond noise: all 2 sites; most b: 50% of its units, median 0.200 sd or 4.0 times its floor. "
        "In every window some site moved."
    ]


def test_one_of_one_and_one_of_two():
    (first,) = said(outcome(moved=["a"], since="2"))
    assert first.startswith("Moved beyond noise: a; 50% of its units, median 0.100 sd or 2.0 times its floor.")
    first, second = said(outcome(moved=["a"], still=["b"], since="2"))
    assert first.startswith("Moved beyond noise: a, of 2 sites; 50% of its units, median 0.100 sd")
    assert second == "No evidence that b moved."


def test_many_sites_are_not_all_named():
    first, second = said(outcome(moved="abcdef", still="ghijk", since="2"))
    assert "6 of 11 sites (a, b, c and 3 more)" in first
    assert second == "No evidence that g, h, i and 2 more moved."


def test_a_probe_has_no_noise():
    first, second = said(outcome(moved=["a"], still=["b"], since="2"), noiseless=True)
    assert first.startswith("Moved beyond the sketch's error: a, of 2 sites; 50% of its units, median 0.100 sd.")
    assert "floor" not in first
    assert second == "No evidence that b moved."


@pytest.mark.parametrize(("metric", "unit"), [("w1_sd", " sd"), ("w2", " activation"), ("ks", ""), ("js", "")])
def test_the_drift_has_its_unit(metric, unit):
    assert f"median 0.100{unit} or 2.0 times" in said(outcome(moved=["a"], since="2"), metric)[0]


def test_a_drift_that_is_not_known_is_not_shown():
    (first,) = said(outcome(moved=["a"], since="2"), drift=np.nan, ratio=np.nan)
    assert first == "Moved beyond noise: a."


def test_what_cannot_be_told():
    few = "a window of 5 steps: it takes 6"
    assert said(outcome(unknown={few: ("a", "b")})) == [f"Whether any of 2 sites moved cannot be told: {few}."]
    first, second = said(outcome(still=["a"], unknown={few: ("b", "c")}))
    assert first == "No evidence that a moved beyond noise."
    assert second == f"Whether b or c moved cannot be told: {few}."


def test_steps_that_depend_on_each_other():
    older = "no blocks of steps were kept: an older version recorded them"
    found = said(outcome(unknown={DEPENDENT: ("a", "b"), older: ("c",)}, dependence=LARGE))
    assert found == [
        "Whether a or b moved cannot be told: steps depend on each other "
        "(neighbouring blocks of 2 steps correlate by 0.41, every second by 0.20).",
        f"Whether c moved cannot be told: {older}.",
        "Noise is larger than the floor, so that a site has to drift 6 times as far.",
    ]


def test_the_same_examples_in_both_windows():
    sentence = "Both windows saw the same examples: noise is less than the floor, small movements are missed."
    assert sentence in said(outcome(still=["a"], same_examples=True))
    assert sentence not in said(outcome(moved=["a"], since="2", same_examples=True))


def test_too_few_steps_to_tell_dependence():
    few = Dependence(0.02, 0.01, False, 1.0, 8)
    sentence = (
        "8 blocks of steps hardly tell whether steps depend on each other: in slowly changing data this may be noise."
    )
    assert sentence in said(outcome(moved=["a"], since="2", dependence=few))
    assert sentence not in said(outcome(still=["a"], dependence=few))
    assert sentence not in said(outcome(moved=["a"], since="2", dependence=few), noiseless=True)


def test_the_same_examples_where_there_is_no_noise():
    sentence = "Both windows saw the same examples: noise is less than the floor, small movements are missed."
    assert sentence not in said(outcome(still=["a"], same_examples=True), noiseless=True)
    assert sentence not in said(outcome(still=["a"], same_examples=None))


def test_correlations_name_what_they_are_of():
    assert correlation(LARGE) == "neighbouring blocks of 2 steps correlate by 0.41, every second by 0.20"
    assert correlation(Dependence(0.3, -0.1, True, 1.0, 16)) == (
        "neighbouring steps correlate by 0.30, every second by -0.10"
    )


def test_the_largest_is_named_as_such_only_where_all_are_in_the_table():
    """A report of some sites says what moved of all of them, and how far it is at those that it shows."""
    found = outcome(moved=["a", "b"], since="1", always=True)
    first = {"site": ["a"], "window": 2, "name": "2", "drift": 0.1, "ratio": 2.0}
    table = pd.DataFrame(first | {"noiseless": False, "moved": 0.5, "moved_untold": 0})
    assert "all 2 sites; a: 50% of its units" in verdict(found, table, METRICS["w1_sd"])[0]
