"""By how much recording lengthens a training is a number that can be believed, or words."""

import pytest

from icshift.reports.added_time import added_share, in_percent
from icshift.reports.run import Cost, added_time, overhead, recorded_report, run_report
from icshift.reports.thinned import held
from icshift.runs.format import Site
from tests.recorded import of_zoo
from tests.reports.shown import run_of, words

WALLS = (0.0, 1e-6, 0.3, 88.402839, 1e7)
PARTS = (0.0, 1e-9, 0.03, 0.5, 0.97, 0.98, 0.9899, 0.9901, 0.999999, 1 - 1e-12, 1.0)


@pytest.mark.parametrize("wall", WALLS)
def test_it_is_finite_or_unknown_and_rises_with_what_recording_took(wall):
    shares = [added_share(part * wall, wall) for part in PARTS]
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert all(0 <= share <= 100 for share in known)
    assert all(share is None for share in shares[len(known) :])


@pytest.mark.parametrize("part", PARTS)
def test_it_is_told_as_a_number_where_it_is_known(part):
    told, share = in_percent(part, 1.0), added_share(part, 1.0)
    assert told == ("nearly all of the time" if share is None else f"+{100 * share:.0f} %")


def test_a_recording_that_left_no_time_beside_it(tmp_path):
    """`icshift info` said +8840283900000 %."""
    run = run_of(
        tmp_path / "run",
        [{("train", "fc1"): of_zoo("normal", 100)}] * 2,
        sites=[Site("fc1", "Linear", 1, 3)],
        overhead={"recording_seconds": 88.402839, "wall_seconds": 88.402839},
        settings={"samples": 64, "probe_examples": 0, "overhead_budget": 0.03},
        **{"parameters": 1, "icshift": "0", "torch": "0", "steps": 20, "created": "today", "ledger": []},
    )
    assert added_time(run) == "nearly all of the time"
    assert overhead(run).startswith("88.40 s of 88.40 s spent recording (nearly all of the time), ")
    assert held(run) == "The budget was not held: recording took nearly all of the time."
    for report in (run_report(run), recorded_report(tmp_path, [run])):
        assert "nearly all of the time" in words(report)


def test_a_script_of_which_recording_was_all():
    told = Cost(seconds=5.0, elapsed=5.0).in_words()
    assert told.startswith("Cost of it all: nearly all of the time, 5.0 s beside 0.0 s of the script's own")
