"""Units of which it cannot be told whether they moved, in a site of which it can: no output says they stood still."""

import csv
import json

import pytest
import torch
from torch import nn

import icshift
from icshift.analysis.metrics import METRICS
from icshift.cli.main import _run
from icshift.page import look
from icshift.page.build import Asked, page_of
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun

ACTIVE, SELDOM, DEAD = range(8), range(8, 14), range(14, 16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A frozen network whose second window has smaller batches; all units that are ever active moved in between."""
    path = tmp_path_factory.mktemp("runs") / "seldom"
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(6, 16))
    model.add_module("relu1", nn.ReLU())
    with torch.no_grad():
        model.fc1.weight.div_(model.fc1.weight.norm(dim=1, keepdim=True))
        model.fc1.bias.zero_()
        model.fc1.bias[list(SELDOM)] = -2.3
        model.fc1.bias[list(DEAD)] = -100.0
    with Recorder(model, path, sites=["relu1"]) as recorder:
        for batch in (64, 16):
            for _ in range(48):
                model(torch.randn(batch, 6))
                recorder.step()
            recorder.epoch()
            with torch.no_grad():
                model.fc1.bias += 0.2
    return path


def told(moved):
    """What is said of the units that are active, seldom active and dead, in the order of their numbers."""
    assert len(moved) == 16
    return [{moved[unit] for unit in units} for units in (ACTIVE, SELDOM, DEAD)]


def test_a_table_of_units_lacks_them(run, tmp_path):
    table = icshift.open(run).drift()
    assert told(table["moved"].astype(object).where(table["moved"].notna(), None).tolist()) == [{True}, {None}, {False}]
    file = tmp_path / "drift.csv"
    assert _run(["export", str(run), "-o", str(file), "--metric", "w1_sd"]) == 0
    assert told([row["moved"] for row in csv.DictReader(file.open())]) == [{"True"}, {""}, {"False"}]


def test_units_are_marked(run, capsys):
    assert _run(["units", str(run), "--site", "relu1", "--json", "--top", "16"]) == 0
    rows = json.loads(capsys.readouterr().out)["units"]
    assert told([row["moved"] for row in sorted(rows, key=lambda row: row["unit"])]) == [{True}, {None}, {False}]
    assert _run(["units", str(run), "--site", "relu1", "--top", "16"]) == 0
    out = capsys.readouterr().out
    assert "? that cannot be told" in " ".join(out.split())
    assert (out.count(" ?"), out.count(" *")) == (len(SELDOM) + 1, len(ACTIVE) + 1)  # And once each below the table.


def test_a_share_of_units_is_the_least_that_it_can_be(run, tmp_path, capsys):
    assert _run(["report", str(run), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["sites"]
    assert (row["moved"], row["moved_untold"], row["moved_unknown"]) == (8 / 16, len(SELDOM), "")
    assert _run(["report", str(run)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "at least 50% of its units" in out
    assert " ≥50% " in out
    assert (
        "≥: more may have moved, since some units are seen or active in too few steps, or vary too little beside" in out
    )
    file = tmp_path / "report.md"
    assert _run(["report", str(run), "-o", str(file)]) == 0
    assert "≥50%" in file.read_text()


def test_a_page_says_the_same_and_hatches_what_is_below_its_floor_alone(run):
    page = page_of(StoredRun(run), Asked(METRICS["w1_sd"], "previous", None, None, "icshift report"))
    (table, *_), (site,) = page.tables, page.sites
    assert table.rows[0][table.columns.index("moved")] == ("≥50%", 0.5)
    hatched = set(site.units.ids[(site.units.codes == look.CHANCE).any(1)].tolist())
    units = icshift.open(run).drift()
    assert hatched == set(units.loc[units["ratio"] <= 1, "unit"]) & set(SELDOM)


@pytest.mark.parametrize(
    ("condition", "code", "said"),
    [
        ("moved > 40%", 1, "FAIL"),
        (
            "moved > 60%",
            1,
            "6 of 16 units are seen or active in too few steps, or vary too little beside their mean, to tell",
        ),
    ],
)
def test_a_check_passes_only_on_what_is_known(run, capsys, condition, code, said):
    assert _run(["check", str(run), "--fail-on", condition]) == code
    assert said in capsys.readouterr().out


def test_a_window_with_nothing_to_compare_has_no_still_units(one_window, capsys):
    assert _run(["units", str(one_window), "--site", "fc1", "--json"]) == 0
    assert {row["moved"] for row in json.loads(capsys.readouterr().out)["units"]} == {None}
