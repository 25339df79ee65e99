"""Conditions on two data sets: the verdict is what the report of the shift shows, with its floor."""

import numpy as np
import pytest

from icshift.analysis.conditions import parse
from icshift.analysis.shift_checks import refuse, verdicts
from icshift.analysis.two_data_sets import compare
from icshift.errors import SelectionError
from tests.analysis import test_two_data_sets as two

run = two.run
PARTS, SHIFTS = two.PARTS, two.SHIFTS


def judged(run, *texts, parts=PARTS, drift="w1_sd"):
    return {found.site: found for found in verdicts(run, parts, [parse(text, drift) for text in texts], {})}


def states(run, text, **options):
    return {name: found.state for name, found in judged(run, text, **options).items()}


@pytest.fixture(scope="module")
def sites(run):
    return compare(run, PARTS, [], metric_name="w1_sd", sites=None).sites.set_index("site")


def test_what_is_measured_is_what_the_report_shows(run, sites):
    for name, found in judged(run, "drift > 99").items():
        if name == "aside":
            assert (found.state, found.reason) == ("skipped", "only one data set reaches it")
            continue
        assert found.state == "ok"
        assert found.measurement.value == sites["drift"][name]
        assert found.measurement.floor == sites["floor"][name]
        assert found.measurement.n == sites["n"][name]


def test_shifts_that_are_known_are_not_computed_again(run):
    asked, none = [parse("drift > 0.3"), parse("moved > 5")], {key: part[:1] for key, part in PARTS.items()}
    known = compare(run, PARTS, [], metric_name="w1_sd", sites=None).shifts
    assert verdicts(run, none, asked, {"w1_sd": known}) == verdicts(run, PARTS, asked, {})


def test_a_site_fails_where_the_condition_is_met(run, sites):
    for limit in (0.3, 0.8, 5.0):
        failed = {name for name, state in states(run, f"drift > {limit}").items() if state == "failed"}
        assert failed == set(sites.index[sites["drift"] > limit])


def test_a_drift_within_the_noise_that_fails_says_so(run):
    found = judged(run, "quiet drift > 0")["quiet"]
    assert (found.state, found.reason) == ("failed", "no shift beyond noise")
    assert judged(run, "grows drift > 0")["grows"].reason == ""
    beyond = {name for name, state in states(run, "drift > 3x floor").items() if state == "failed"}
    assert beyond == {name for name, shift in SHIFTS.items() if shift}


def test_units_that_moved_are_counted(run, sites):
    assert states(run, "moved > 0")["quiet"] == "ok"
    found = judged(run, "partly moved > 5%")["partly"]
    assert (found.state, found.measurement.value, found.measurement.level) == ("failed", 1, 0.1)
    assert judged(run, "moved > 99%")["grows"].measurement.value == 10 * sites["moved"]["grows"]


@pytest.mark.some(1)
@pytest.mark.parametrize("metric", ["ks", "w1"])
def test_drift_is_the_metric_that_is_shown(run, metric):
    by_name = judged(run, f"p90({metric}) > 0.2")
    by_word = judged(run, "p90(drift) > 0.2", drift=metric)
    assert by_name == by_word
    sites = compare(run, PARTS, [], metric_name=metric, sites=None).sites.set_index("site")
    assert by_name["grows"].measurement.value == pytest.approx(sites["p90"]["grows"])


def test_units_in_trouble_are_those_of_the_data(run):
    assert {state for name, state in states(run, "nonfinite > 0").items() if name != "aside"} == {"ok"}


def test_too_few_examples_never_pass(run):
    few = {key: part[:1] for key, part in PARTS.items()}
    found = judged(run, "drift > 5", parts=few)
    assert {found[name].state for name in SHIFTS} == {"unmeasured"}
    assert {found[name].reason for name in SHIFTS} == {"too few examples to tell noise"}
    assert states(run, "moved > 5", parts=few)["grows"] == "unmeasured"
    assert states(run, "drift > 0.3", parts=few)["grows"] == "failed"  # What is known fails already.


def test_mistakes(run):
    with pytest.raises(SelectionError, match="data sets are of different ones"):
        refuse([parse("cka_distance > 0.1")])
    refuse([parse("drift > 0.1"), parse("nonfinite > 0")])
    with pytest.raises(SelectionError, match="cannot check 'aside w1_sd > 1' at aside: only one data set reaches it"):
        judged(run, "aside drift > 1")
    with pytest.raises(SelectionError, match="no site 'grow'"):
        judged(run, "grow drift > 1")
    assert not np.isnan(judged(run, "grows drift > 1")["grows"].measurement.floor)
