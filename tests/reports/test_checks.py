"""What the report of checked conditions says, and what becomes of them in JUnit."""

import numpy as np
import pytest

from icshift.analysis.checks import evaluate
from icshift.analysis.conditions import parse
from icshift.reports.checks import all_passed, cases, checks_report
from icshift.runs.format import Site
from tests.recorded import distribution
from tests.reports.shown import run_of, shown

SITES = [Site(name, "Linear", 1, 4) for name in ("fc1", "fc2", "late")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """fc1 drifts, fc2 does not, and of `late` there is one window; a unit of fc1 is dead."""
    random = np.random.default_rng(5)
    windows = []
    for window in (0, 1):
        values = random.normal(size=(2, 4, 500))
        values[0] += window
        values[0, 0] = 0
        windows.append({("train", "fc1"): distribution(values[0]), ("train", "fc2"): distribution(values[1])})
    windows[1]["train", "late"] = distribution(random.normal(size=(4, 500)))
    ledger = [{"module": "fc9", "type": "Linear", "state": "never called", "reason": "no tensor came"}]
    return run_of(tmp_path_factory.mktemp("checks") / "run", windows, sites=SITES, ledger=ledger)


def verdicts(run, *conditions):
    return evaluate(run, [parse(text) for text in conditions], reference="previous", phase="train", all_windows=False)


def report(run, *conditions):
    return checks_report(run, verdicts(run, *conditions), phase="train", reference="previous")


def test_what_fails_comes_first_and_the_count_before_the_warnings(run):
    found = report(run, "fc* w1_sd > 0.5", "nonfinite > 0")
    lines = shown(found, 200)
    assert lines[0] == f"{run.path} · Net · phase train · reference previous"
    assert lines[1].startswith("FAILED        fc1: w1_sd ")
    assert lines[2].startswith("ok            fc* w1_sd > 0.5: fc2 with ")
    assert lines[3].startswith("ok            nonfinite > 0: 3 sites, nearest ")
    assert lines[4] == "1 of 5 checks failed"
    assert lines[5].startswith("Modules not recorded: 1 never called")
    assert found.next_step == f"Next: icshift units {run.path} --site fc1"
    assert found.data["passed"] is False
    assert [row["state"] for row in found.data["checks"]].count("failed") == 1


def test_nothing_is_next_where_all_is_well(run):
    found = report(run, "nonfinite > 0")
    assert (found.next_step, found.data["passed"]) == ("", True)
    assert shown(found)[-2] == "3 checks ok"
    assert all_passed(verdicts(run, "nonfinite > 0"))


def test_one_check_is_one_check(run):
    assert shown(report(run, "fc1 nonfinite > 0"))[-2] == "1 check ok"


def test_cases_have_the_outcomes_of_junit(run):
    outcomes = {case.subject: case.outcome for case in cases(verdicts(run, "w1_sd > 0.5"))}
    assert (outcomes["fc1"], outcomes["fc2"]) == ("failure", "passed")
    assert all(case.name == "w1_sd > 0.5" for case in cases(verdicts(run, "w1_sd > 0.5")))
