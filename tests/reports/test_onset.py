"""In words: which site left first, at which step, and what cannot be told."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.onset import COLUMNS
from icshift.reports.onset import onset_in_words, onset_report
from icshift.runs.reader import StoredRun
from tests.reports.shown import shown, words


def table(*rows):
    """A table of sites, each a name and a step; None where it stayed, a str why it is unknown."""
    found = []
    for name, step in rows:
        row = dict.fromkeys(COLUMNS, np.nan) | {"site": name, "what": "", "phase": "train", "unknown": "", "steps": 90}
        if isinstance(step, str):
            row["unknown"] = step
        elif step is not None:
            row |= {"step": step, "what": "sd", "value": 3.1, "low": 0.7, "high": 1.4, "outside": 1.0}
            row |= {"past_first": 0, "past_last": 44}
        found.append(row)
    return pd.DataFrame(found)


SAID = {
    "one of three": (
        [("b", 59), ("a", 70), ("c", 80), ("d", None)],
        "b left the band of its past at step 59, before all others that left (sd 3.100, band 0.700 to 1.400 of steps 0 "
        "to 44).",
    ),
    "one of two": ([("b", 59), ("a", 70)], "b left the band of its past at step 59, before a (sd 3.100, band"),
    "the only one": ([("b", 59), ("a", None)], "b left the band of its past at step 59; no other site left (sd 3.100,"),
    "two at once": (
        [("b", 59), ("a", 59), ("c", 60), ("d", 61)],
        "b and a left the band of their past at step 59, before all others that left.",
    ),
    "many at once": (
        [(name, 59) for name in "abcdef"],
        "a, b and 4 more left the band of their past at step 59; no other site left.",
    ),
    "none": ([("a", None), ("b", None)], "No site left the band of its own past."),
    "unknown": (
        [("a", None), ("b", "9 steps: it takes 13")],
        "Whether b left the band of its past cannot be told: 9 steps: it takes 13.",
    ),
    "nothing known": (
        [("a", "9 steps: it takes 13"), ("b", "9 steps: it takes 13")],
        "Whether any site left the band of its past cannot be told: 9 steps: it takes 13.",
    ),
}


@pytest.mark.parametrize(("rows", "said"), SAID.values(), ids=SAID)
def test_sentences(rows, said):
    assert said in " ".join(onset_in_words(table(*rows)))


def test_nothing_is_said_to_have_stayed_where_nothing_is_known():
    assert not any("No site left" in one for one in onset_in_words(table(("a", "too short"))))


def test_the_report_fits_80_columns_and_says_what_was_cut(two_windows):
    run, rows = StoredRun(two_windows), table(("block1.conv1", 59), ("b", None), ("c", "9 steps: it takes 13"))
    report = onset_report(run, rows, top=2)
    assert max(len(line) for line in shown(report)[3:]) <= 80
    said = words(report)
    assert "2 of 3 sites: those that left first." in said
    assert "at most some 5 % show any site" in said
    assert "What left first need not be the cause" in said
    assert "block1.conv1 59 sd 3.100 0.700 to 1.400 0 to 44 100%" in said
    assert report.next_step.startswith(f"Next: icshift units {two_windows} --site block1.conv1")
    assert [row["site"] for row in report.data["sites"]] == ["block1.conv1", "b"]
