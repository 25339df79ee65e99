"""What `icshift run` tells at its end."""

from dataclasses import replace
from pathlib import Path

import pytest

from icshift.cli.output import show
from icshift.reports.run import Cost, recorded_report, unrecorded
from icshift.runs.reader import StoredRun


def test_a_row_a_model_and_what_could_be_typed_next(two_windows, with_batch_norm, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    show(recorded_report(Path("there"), [StoredRun(two_windows), StoredRun(with_batch_norm)]), no_color=True)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "Recorded in there"
    rows = [line.split() for line in lines if line.strip().startswith(("small", "normed"))]
    assert [row[:9] for row in rows] == [
        ["small", "Sequential", "2", "20", "2", "of", "10", "steps", rows[0][8]],
        ["normed", "Sequential", "3", "40", "4", "of", "10", "steps", rows[1][8]],
    ]
    assert lines[-1] == "Next: icshift report there/small"
    assert "--window" not in "".join(lines)


def test_windows_that_nobody_chose_and_one_alone_are_told(one_window):
    run = StoredRun(one_window)
    chosen = recorded_report(Path("there"), [run])
    assert "One window leaves nothing to compare" in str(chosen.body[-1])
    run.window_list = [replace(window, provisional=True) for window in run.window_list]
    automatic = recorded_report(Path("there"), [run])
    assert str(automatic.body[-1]).startswith("No DataLoader told of a second epoch")


@pytest.mark.parametrize(
    ("problems", "facts", "expected"),
    [
        ([], {"imported": False}, ["nothing was recorded: the script did not import torch"]),
        ([], {"stepped": True}, []),
        ([], {"others": True, "children": True}, []),
        (["net is not recorded"], {"stepped": True}, ["net is not recorded"]),
    ],
)
def test_why_something_was_not_recorded(problems, facts, expected):
    assert unrecorded(problems, **facts) == expected


def test_a_script_without_steps_is_told_of_forwards():
    first, second = unrecorded(["net is not recorded"])
    assert "--forwards makes each forward in training a step" in first
    assert second == "net is not recorded"


def test_what_children_could_have_done_is_said_where_nothing_was_recorded():
    _, second = unrecorded([], imported=False, children=True)
    assert "icshift run SCRIPT" in second


def test_the_cost_is_that_of_it_all():
    told = Cost(2.0, 10.0, once=0.5, steps=1000).in_words()
    assert told == (
        "Cost of it all: about +25 %, 2.0 s beside 8.0 s of the script's own; "
        "0.5 s once (start, end, this summary), 1.5 ms a step."
    )
    assert "at least +25 %" in Cost(2.0, 10.0, whole=False).in_words()
    assert "a step" not in Cost(2.0, 10.0).in_words()
    assert ", 120 ms a step" in Cost(2.468, 10.0, once=0.0, steps=20).in_words()
