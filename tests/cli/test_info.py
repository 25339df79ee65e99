"""What `icshift info` prints: what a run holds, and which metrics there are."""

import json

import pytest

from icshift.analysis.metrics import METRICS
from icshift.reports import run as reports


def test_it_tells_what_the_run_holds(two_windows, printed):
    text = printed("info", two_windows)
    for expected in ("Sequential", "train, eval, probe", "50 examples", "ReLU", "fc2"):
        assert expected in text


def test_of_very_many_sites_the_first_are_shown(two_windows, printed, monkeypatch):
    monkeypatch.setattr(reports, "_MOST_SHOWN", 1)
    text = printed("info", two_windows)
    assert "The first 1 of 2 sites are shown; --json has all." in " ".join(text.split())
    assert len(json.loads(printed("info", two_windows, "--json"))["sites"]) == 2


def test_json_is_what_the_run_holds(two_windows, printed):
    found = json.loads(printed("info", two_windows, "--json"))
    assert found["finished"] is True
    assert len(found["windows"]) == 2


@pytest.mark.parametrize("arguments", [(), ("any run",)])
def test_every_metric_is_listed_with_what_it_is_of(arguments, printed):
    """Whether a run is named or not, and whether there is one."""
    text = printed("info", "--metrics", *arguments)
    assert all(name in text for name in METRICS)
    assert "site, probe" in text
    assert "unit, probe" in text


@pytest.mark.parametrize(
    ("arguments", "expected"), [(["nowhere"], "no such run: nowhere"), (["."], "no icshift run"), ([], "RUN")]
)
def test_mistakes_end_in_one_line(arguments, expected, refused):
    assert expected in refused("info", *arguments)
