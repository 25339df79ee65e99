"""What `icshift info --verify` says of sound, older and damaged runs."""

from pathlib import Path

from icshift.reports.verified import verified_report
from icshift.runs.verify import Verified

SOUND = Verified(Path("run"), manifests=1, manifests_sealed=1, files=9, sealed=9, problems=())


def test_a_sound_run_is_ok():
    report = verified_report(SOUND)
    assert report.heading == "run · 1 manifest and 9 files of rows read; all of them have checksums"
    assert report.verdict == "ok"
    assert report.notes == ()
    assert report.data["ok"]


def test_a_run_of_an_older_version_is_told():
    report = verified_report(Verified(Path("run"), 2, 0, 1, 0, ()))
    assert report.heading == "run · 2 manifests and 1 file of rows read; 0 of 3 have checksums"
    assert "Files of older versions have no checksums" in report.notes[0]
    assert report.verdict == "ok"


def test_problems_are_told_and_counted():
    report = verified_report(Verified(Path("run"), 1, 1, 9, 8, ("a is damaged", "b is gone")))
    assert report.warnings == ("a is damaged", "b is gone")
    assert report.verdict == "2 problems"
    assert not report.data["ok"]
