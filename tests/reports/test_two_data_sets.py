"""What is said of one model on two data sets."""

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.checks import Measurement, Verdict
from icshift.analysis.conditions import parse
from icshift.analysis.metrics import METRICS
from icshift.analysis.staleness import Distance
from icshift.analysis.two_data_sets import SITE_COLUMNS, LayerDistances, Result, layer_table
from icshift.cli.output import show
from icshift.reports.two_data_sets import Compared, DataSet, bar, two_data_sets_report

ROW = dict.fromkeys(SITE_COLUMNS, np.nan) | {"units": 4, "n": 90, "floor": 0.05, "p": 0.0, "shifted": True}
SITES = pd.DataFrame(
    [
        ROW | {"site": "(input)", "drift": 0.5, "relative": 1.0, "verdict": "shifted: 90 % of units, 0.50 sd"},
        ROW | {"site": "fc1", "drift": 0.25, "relative": 0.5, "verdict": "shifted; absorbs: 0.50x the site before"},
        ROW | {"site": "fc2", "drift": 0.1, "p": np.nan, "verdict": "not known: too few examples to tell noise"},
    ]
)
LAYERS = layer_table([LayerDistances("norm", Distance(0.3, 0.1, 90, 4), Distance(0.4, 0.1, 80, 4))])
ABOUT = Compared("net.pt", "Net", DataSet("a.npz", 1200, 0, 0), DataSet("b.npz", 80, 5, 3), None)


def report(*, about=ABOUT, notes=(), missed="", layers=LAYERS, verdicts=()):
    result = Result(METRICS["w1_sd"], {}, SITES, pd.DataFrame(), layers)
    return two_data_sets_report(about, result, notes, missed, verdicts)


def test_it_is_shown_from_the_model_to_what_could_be_typed_next(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    show(report(missed="Modules not recorded: 1 failed"), no_color=True)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[:2] == ["net.pt · Net", "b.npz (80 examples) against a.npz (1,200 examples)"]
    assert max(map(len, lines[2:-3])) <= 80
    begun = [next(i for i, line in enumerate(lines) if line.strip().startswith(begin)) for begin in (
        "(input)", "fc1", "drift: w1_sd", "the site before: in the order", "Batch norm: distance", "norm",
        "In sd, root mean", "b.npz: 5 values in 3 of 80 examples are not finite", "Modules not recorded", "Next: ",
    )]  # fmt: skip
    assert begun == sorted(begun)
    assert lines[begun[4] - 1] == ""


def test_a_model_without_batch_norm_has_one_table(capsys):
    show(report(layers=layer_table([])), no_color=True)
    assert "Batch norm" not in capsys.readouterr().out


VERDICTS = [
    Verdict(parse("drift > 0.2"), "fc1", "failed", Measurement("", "", 0.25, 0.25, 0.05, 90, 4)),
    Verdict(parse("drift > 0.2"), "fc2", "unmeasured", Measurement("", "", 0.1, 0.1), "too few examples to tell noise"),
]


def test_checks_say_why_the_exit_code_is_1_and_whose_floor_theirs_is(capsys):
    show(report(verdicts=VERDICTS), no_color=True)
    out = capsys.readouterr().out
    for line in (
        "FAILED        fc1: w1_sd 0.250 sd > 0.2 (floor 0.050, n = 90)",
        "not measured  fc2: w1_sd > 0.2: too few examples to tell noise",
        "1 of 2 checks failed, 1 not measured",
        "Its floor is that of the table: splits of each data set by example.",
    ):
        assert line in out
    counted = [Verdict(parse("moved > 0"), "fc1", "ok", Measurement("", "", 0, 0, n=90, units=4))]
    show(report(verdicts=counted), no_color=True)
    assert "Its floor" not in capsys.readouterr().out


def test_its_data_are_what_was_measured():
    found = report(notes=["2 of 9 tensors stayed"], missed="Modules not recorded: 1 failed", verdicts=VERDICTS).data
    assert list(found) == [
        "checkpoint", "metric", "reference", "data", "notes", "sites", "batch_norm", "passed", "checks",
    ]  # fmt: skip
    assert found["data"] == {"source": "b.npz", "examples": 80, "nonfinite": 5}
    assert found["notes"][0] == "2 of 9 tensors stayed"
    assert len(found["notes"]) == 2
    assert [site["site"] for site in found["sites"]] == ["(input)", "fc1", "fc2"]
    assert found["batch_norm"][0]["reference"] == 0.3
    assert (found["passed"], [check["state"] for check in found["checks"]]) == (False, ["failed", "unmeasured"])
    assert not {"passed", "checks"} & report().data.keys()


@pytest.mark.parametrize(("run", "expected"), [(None, "-o RUN keeps a run"), ("here", "icshift report here --phase")])
def test_what_could_be_typed_next(run, expected):
    about = Compared(ABOUT.checkpoint, ABOUT.network, ABOUT.reference, ABOUT.data, run)
    assert expected in report(about=about).next_step


@pytest.mark.parametrize(
    ("share", "expected"), [(0, ""), (1, "████████"), (0.5, "████"), (1 / 64, "▏"), (2, "████████"), (np.nan, "")]
)
def test_bars(share, expected):
    assert bar(share) == expected
