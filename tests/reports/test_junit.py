"""JUnit files hold any text, and say of every check what became of it."""

from xml.etree import ElementTree as ET

import pytest

from icshift.reports.junit import Case, as_junit


@pytest.mark.parametrize("outcome", ["passed", "failure", "error", "skipped"])
def test_junit_takes_any_text(outcome):
    awkward = "a<b & \"c\" 'd' ]]> \u2019é\U0001f600"
    unwritable = "\x00\x1b[1m\ud800\ufffe"
    case = Case(f"site {awkward}", f"name {awkward}", outcome, f"message {awkward}{unwritable}")
    (suite,) = ET.fromstring(as_junit(awkward, [case]))
    (found,) = suite
    assert (suite.get("name"), found.get("classname")) == (awkward, f"site {awkward}")
    assert found.get("name") == f"name {awkward}"
    message = found[0].text if outcome == "passed" else found[0].get("message")
    assert message == f"message {awkward}\ufffd\ufffd[1m\ufffd\ufffd"


def test_totals_count_each_outcome():
    outcomes = ["passed", "failure", "failure", "error", "skipped"]
    root = ET.fromstring(as_junit("suite", [Case("fc1", "dead > 0", outcome, "said") for outcome in outcomes]))
    assert root.attrib == {"tests": "5", "failures": "2", "errors": "1", "skipped": "1"}
