"""What is said of merged windows."""

from types import SimpleNamespace

from icshift.reports.merged import merged_report
from icshift.runs.ending import Ending


def said(ranks, windows, new, merged):
    run = SimpleNamespace(path="runs/a", ranks=ranks, window_list=[None] * windows, ending=Ending({"finished": True}))
    return merged_report(run, new, merged).body[0]


def test_what_was_merged_before_and_what_is_not_closed_is_said():
    assert said(4, 3, 3, 3) == "runs/a: 3 windows of 4 processes merged"
    assert said(4, 3, 1, 2) == "runs/a: 2 windows of 4 processes merged, 1 of them before; 1 are not closed yet"
    assert "nothing to merge" in said(1, 3, 0, 0)
