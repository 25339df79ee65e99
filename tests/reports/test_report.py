"""What several reports are together."""

from icshift.reports.report import Report, together
from tests.reports.shown import shown


def test_reports_stand_below_each_other_with_the_data_of_all():
    first = Report("one", body=("a",), warnings=("w",), next_step="Next: a", data={"a": 1, "both": 1})
    second = Report("two", body=("b",), notes=("n",), next_step="Next: b", data={"both": 2})
    both = together(first, second)
    assert shown(both) == ["one", "a", "w", "", "two", "b", "n"]
    assert both.next_step == "Next: a"
    assert both.data == {"a": 1, "both": 2}


def test_one_report_is_itself():
    report = Report("one", data={"a": 1})
    assert together(report) is report
