"""What is said of steps that were left out to keep the cost of recording within a budget."""

import pytest

from icshift.reports.onset import onset_notes
from icshift.reports.run import added_time, overhead, recorded_report, run_report
from icshift.reports.thinned import budget_in_words, thinned
from icshift.runs.format import Site
from tests.recorded import of_zoo
from tests.reports.shown import run_of, shown, words
from tests.reports.test_run import ABOUT

SETTINGS = {"samples": 64, "probe_examples": 0, "overhead_budget": 0.03}
WINDOWS = [{("train", "fc1"): of_zoo("normal", 100)}] * 2


def _run(path, *strides, left_out=12, seconds=1.0, settings=SETTINGS, gaps=(), **more):
    told = [{"from_step": step, "stride": stride} for step, stride in strides]
    return run_of(
        path,
        WINDOWS,
        sites=[Site("fc1", "Linear", 1, 3)],
        **ABOUT,
        settings=settings,
        overhead={"recording_seconds": seconds, "wall_seconds": 101.0, **more},
        gaps=list(gaps),
        thinned={"steps_left_out": left_out, "strides": told},
    )


@pytest.fixture
def run(tmp_path):
    return _run(tmp_path / "run", (1200, 4))


def test_which_steps_were_recorded(run):
    told = "Steps thinned to keep recording under 3 %: from step 1,200 on one in 4; 8 of 20 recorded."
    assert thinned(run) == told
    assert f"budget {told}" in words(run_report(run))
    assert told in words(recorded_report(run.path.parent, [run]))
    assert any(told in note for note in onset_notes(run))
    assert "fc8 (Linear): never called – no tensor came (in the steps that were recorded)" in words(run_report(run))


def test_changes_of_the_stride_are_told_up_to_the_last_three(tmp_path):
    assert "from step 33 on one in 8, from step 289 on every one; " in thinned(
        _run(tmp_path / "two", (33, 8), (289, 1))
    )
    many = thinned(_run(tmp_path / "many", (33, 8), (100, 4), (300, 8), (600, 1_024), (2000, 512)))
    assert ": 2 changes of this, then from step 300 on one in 8, from step 600 on one in 1,024, from step 2,000" in many


def test_a_budget_that_was_not_held_is_told(tmp_path):
    run = _run(tmp_path / "run", (33, 8), seconds=11.0)
    assert thinned(run).endswith("The budget was not held: recording took 12 % all the same.")


def test_more_than_all_of_the_time_is_a_whole_number(tmp_path):
    run = _run(tmp_path / "run", (33, 8), seconds=62.15)
    assert thinned(run).endswith("recording took 160 % all the same.")


def test_whether_a_budget_was_held_is_not_known_where_part_of_the_cost_is_not(tmp_path):
    run = _run(tmp_path / "run", (33, 8), at_least=True)
    assert thinned(run).endswith("Whether the budget was held is not known: recording took at least 1 %.")
    assert added_time(run) == "at least +1 %"
    assert overhead(run).startswith("at least 1.00 s of 101.00 s spent recording (at least +1 %)")
    over = _run(tmp_path / "over", (33, 8), seconds=11.0, at_least=True)
    assert thinned(over).endswith("The budget was not held: recording took at least 12 % all the same.")


def test_steps_that_are_missing_for_another_reason_were_not_recorded(tmp_path):
    gap = {"first_step": 3, "last_step": 5, "reason": "No space left on device", "time": "2026-11-27T00:00:00+00:00"}
    assert "; 5 of 20 recorded." in thinned(_run(tmp_path / "run", (33, 8), gaps=[gap]))


def test_a_budget_that_was_enough_for_every_step(tmp_path):
    run = _run(tmp_path / "run", left_out=0)
    assert thinned(run) == ""
    assert budget_in_words(run) == "3 % of the training's time; every step was recorded."


def test_without_a_budget_nothing_is_said(tmp_path):
    run = run_of(tmp_path / "run", WINDOWS, sites=[Site("fc1", "Linear", 1, 3)], **ABOUT)
    assert (thinned(run), budget_in_words(run)) == ("", "")
    assert not any(line.startswith("budget") for line in shown(run_report(run)))
