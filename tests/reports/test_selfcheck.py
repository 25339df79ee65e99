"""What the report of a self-check says."""

import pytest

from icshift.reports.selfcheck import selfcheck_report
from tests.reports.shown import words

ASKED = {"seed": 3, "quick": True, "seconds": 12.3, "versions": {"icshift": "1.2", "torch": "3.4"}}


def result(name, *, passed):
    told = {part: f"{part} of {name}" for part in ("claim", "source", "expected", "measured", "ran")}
    return {"check": name, "passed": passed, **told, "numbers": {"x": 1.0}, "seconds": 1.0}


@pytest.mark.parametrize(
    ("passed", "quick", "next_step"),
    [
        ((True, True), True, "Next: icshift selfcheck"),
        ((True, True), False, "Next: icshift demo"),
        ((True, False), True, "Next: icshift selfcheck --only b --seed 4"),
    ],
)
def test_what_it_says(passed, quick, next_step):
    results = [result(name, passed=one) for name, one in zip("ab", passed, strict=True)]
    report = selfcheck_report(results, {**ASKED, "quick": quick})
    said = words(report)
    assert "a claim of a" in said
    assert ("FAIL" in said) == (passed != (True, True))
    assert said.endswith(
        f"{sum(passed)} of 2 passed · 12 s · seed 3{', quick' if quick else ''} · icshift 1.2, torch 3.4"
    )
    assert report.next_step == next_step
    assert report.data["passed"] == all(passed)
    assert report.data["checks"] == results
