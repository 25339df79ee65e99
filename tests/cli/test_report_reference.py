"""Another run as reference, in every command that takes one."""

import json
from io import StringIO

import pandas as pd
import pytest

from icshift.analysis.unordered import MEASURES
from tests.conftest import record_small


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    """A run that began with the weights of `two_windows` and learned faster."""
    return record_small(tmp_path_factory.mktemp("twin") / "run", rate=0.3)


def test_runs_that_began_alike_are_compared_unit_by_unit(two_windows, twin, printed):
    reference = ("--reference", f"run:{twin}")
    assert "w1_sd" in printed("report", two_windows, *reference)
    assert "paired by number" not in printed("report", two_windows, *reference)
    table = pd.read_csv(StringIO(printed("export", two_windows, "-o", "-", "--phase", "train", *reference)))
    assert (table["unit"] >= 0).all()
    assert "fc1" in printed("units", two_windows, "--site", "fc1", *reference)
    assert "ok" in printed("check", two_windows, "--fail-on", "w1_sd > 100", *reference)


def test_runs_that_did_not_are_compared_without_an_order(two_windows, with_batch_norm, printed):
    reference = ("--reference", f"run:{with_batch_norm}")
    shown = printed("report", two_windows, *reference, "--phase", "probe")
    assert "without an order of units" in " ".join(shown.split())  # A heading is wrapped where its paths are long.
    assert "CKA" in shown
    found = json.loads(printed("report", two_windows, *reference, "--json"))
    assert found["unordered"]
    assert [row["site"] for row in found["sites"]] == ["fc1", "fc2"]
    table = pd.read_csv(StringIO(printed("export", two_windows, "-o", "-", *reference)))
    assert set(table["metric"]) == set(MEASURES)
    assert set(table["unit"]) == {-1}
    assert set(table["phase"]) == {"train", "eval", "probe"}


@pytest.mark.some(2)
@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "--metric", "ks"),
        ("export", "-o", "-", "--metric", "w1"),
        ("units", "--site", "fc1"),
        ("check", "--fail-on", "w1_sd > 1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_units_of_runs_that_did_not_are_compared_on_request_alone(arguments, two_windows, with_batch_norm, command):
    name, *rest = arguments
    code, out, err = command(name, two_windows, *rest, "--reference", f"run:{with_batch_norm}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "paired-run:" in err
    reference = f"paired-run:{with_batch_norm}"
    _, out, err = command(name, two_windows, *rest, "--reference", reference)
    if name == "export":
        assert set(pd.read_csv(StringIO(out))["reference"]) == {reference}
    else:
        assert "drift includes a permutation of units" in " ".join(out.split())


def test_a_file_is_written_with_the_caveat_said(two_windows, with_batch_norm, command, tmp_path):
    path = tmp_path / "drift.csv"
    _, _, err = command("export", two_windows, "-o", path, "--reference", f"paired-run:{with_batch_norm}")
    assert "drift includes a permutation of units" in " ".join(err.split())
