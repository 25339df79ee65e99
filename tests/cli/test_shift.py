"""`icshift shift` as a user meets it: what it prints and writes, its exit codes, and one line for every mistake."""

import io
import json
import re
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import torch

from icshift.analysis.drift import COLUMNS
from icshift.cli.main import _run
from icshift.runs.reader import StoredRun
from tests.measured import Measured
from tests.zoo.digits import TRAINING, digits, network, noisy, states

MODEL = "--model", "tests.zoo.digits:network"

SEEN = 500
"""Images that `train.npz` holds of those that the training had."""

ANSWERS = {}
"""What was asked already and writes nothing: many tests read one answer."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Saved models and data sets, as a training would leave them behind."""
    folder = tmp_path_factory.mktemp("shift")
    images = digits()[0].numpy()
    for step, state in states().items():
        torch.save({"model": state, "step": step}, folder / f"step-{step}.pt")
    np.savez(folder / "train.npz", images[:SEEN])
    np.savez(folder / "test.npz", images[TRAINING:])
    np.savez(folder / "dimmed.npz", 0.5 * images[TRAINING:])
    np.savez(folder / "noisy.npz", noisy(digits()[0][TRAINING:], 0.3).numpy())
    broken = images[TRAINING:].copy()
    broken[:3, 5], broken[3, 7] = np.nan, np.inf
    np.savez(folder / "broken.npz", broken)
    np.savez(folder / "narrow.npz", images[:50, :60])
    np.savez(folder / "one.npz", images[:1])
    np.savez(folder / "none.npz", images[:0])
    (folder / "train.csv").write_text("mine")
    (folder / "net.py").write_text("from tests.zoo.digits import network as make\n")
    (folder / "somebodys.py").write_text("from tests.zoo.digits import network\nmodel = network(seed=3).double()\n")
    return folder


@pytest.fixture
def icshift(folder, monkeypatch, capsys):
    """Runs the command in the folder: exit code, stdout, stderr. The saved model is the trained one."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(*arguments, checkpoint="step-400.pt", model=MODEL):
        asked = checkpoint, *model, *map(str, arguments)
        if asked not in ANSWERS or {"-o", "--junit"} & set(asked):
            code = _run(["shift", *asked])
            ANSWERS[asked] = (code, *capsys.readouterr())
        return ANSWERS[asked]

    return run


AGAINST = "--reference", "train.npz", "--data"


def test_it_tells_of_every_site_and_layer(icshift):
    code, out, err = icshift(*AGAINST, "dimmed.npz")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "step-400.pt · Sequential"
    assert lines[1] == "dimmed.npz (397 examples) against train.npz (500 examples)"
    for site in ("(input)", "fc1", "norm1", "fc2", "norm2", "fc3", "norm3", "fc4"):
        row = next(line for line in lines if line.strip().startswith(f"{site} "))
        assert re.search(r"0\.\d{3}  0\.\d{3} .*█.*shifted: \d+ % of units, 0\.\d\d sd", row), row
    assert "×input" in out
    assert "Batch norm" in out
    assert re.search(r"norm3 +0\.0\d\d \(0\.0\d\d\) +0\.\d{3} \(0\.0\d\d\) +0\.0\d\d \(0\.0\d\d\)", out)
    assert lines[-1].startswith("Next: ")


@pytest.mark.some(1)
@pytest.mark.parametrize(
    ("checkpoint", "data"), [("step-5.pt", "test.npz"), ("step-400.pt", "dimmed.npz"), ("step-400.pt", "broken.npz")]
)
def test_it_fits_80_columns(icshift, checkpoint, data):
    _, out, _ = icshift(*AGAINST, data, checkpoint=checkpoint)
    long = [line for line in out.splitlines() if len(line.rstrip()) > 80]
    assert all("examples are not finite" in line for line in long)


def test_data_of_the_training_has_no_shift(icshift):
    _, out, _ = icshift("--reference", "train.npz", "--data", "train.npz", "--json")
    found = json.loads(out)
    assert {site["verdict"] for site in found["sites"]} == {"no shift beyond noise"}
    assert not any(layer["stale"] for layer in found["batch_norm"])


def test_stale_running_statistics_are_told(icshift):
    _, out, _ = icshift(*AGAINST, "test.npz", checkpoint="step-5.pt")
    words = " ".join(out.split())
    assert "running statistics stale:" in words
    assert "from those of the reference data" in words


def test_json_is_what_was_measured(icshift, tmp_path):
    _, out, err = icshift(*AGAINST, "dimmed.npz", "--json")
    assert err == ""
    found = json.loads(out)
    model = network()
    model.load_state_dict(states()[400])
    images = digits()[0]
    expected = Measured(tmp_path / "run", model, images[:SEEN], 0.5 * images[TRAINING:])
    assert [site["site"] for site in found["sites"]] == list(expected.sites.index)
    for name in ("drift", "p90", "floor", "moved", "p"):
        assert [site[name] for site in found["sites"]] == pytest.approx(expected.sites[name].tolist())
    assert [site["verdict"] for site in found["sites"]] == expected.sites["verdict"].tolist()
    assert found["reference"] == {"source": "train.npz", "examples": SEEN, "nonfinite": 0}
    layers = {layer["layer"]: layer for layer in found["batch_norm"]}
    assert layers["norm2"]["data"] == pytest.approx(expected.layers["norm2"].data.value)
    assert layers["norm2"]["staleness_floor"] == pytest.approx(expected.layers["norm2"].staleness.floor)
    assert (layers["norm2"]["data_n"], layers["norm2"]["reference_n"]) == (397, SEEN)


def test_csv_is_tidy(icshift, tmp_path):
    path = tmp_path / "units.csv"
    code, _, _ = icshift(*AGAINST, "dimmed.npz", "-o", path, "--metric", "ks")
    table = pd.read_csv(path)
    assert code == 0
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert len(table) == 64 + 6 * 100 + 10
    assert (table["run"] == "step-400.pt").all()
    assert set(table["reference"]) == {"phase:reference"}
    assert table.groupby("site")["floor"].median().between(0.03, 0.12).all()


@pytest.mark.thorough
def test_csv_goes_to_stdout_alone(icshift):
    code, out, _ = icshift(*AGAINST, "dimmed.npz", "--limit", 60, "-o", "-")
    assert code == 0
    assert tuple(pd.read_csv(io.StringIO(out)).columns[: len(COLUMNS)]) == COLUMNS


def test_the_run_is_for_all_other_commands(icshift, tmp_path, capsys):
    run = tmp_path / "run"
    code, out, _ = icshift(*AGAINST, "dimmed.npz", "-o", run, "--json")
    assert code == 0
    assert StoredRun(run).finished
    asked = "--phase", "data", "--reference", "phase:reference"
    assert _run(["report", str(run), *asked, "--json"]) == 0
    report = {row["site"]: row for row in json.loads(capsys.readouterr().out)["sites"]}
    for site in json.loads(out)["sites"]:
        assert report[site["site"]]["drift"] == pytest.approx(site["drift"])
        assert report[site["site"]]["floor"] == pytest.approx(site["floor"], rel=0.5)
        assert report[site["site"]]["moved"] == pytest.approx(site["moved"], abs=0.2)  # of other parts
    assert _run(["units", str(run), "--site", "(input)", *asked]) == 0
    assert _run(["info", str(run)]) == 0
    assert _run(["export", str(run), "-o", str(tmp_path / "x.csv"), "--reference", "phase:reference"]) == 0
    assert set(pd.read_csv(tmp_path / "x.csv")["phase"]) == {"data"}
    assert _run(["check", str(run), *asked, "--fail-on", "fc* w1_sd > 3x floor"]) == 1


@pytest.mark.parametrize(("limit", "expected"), [(0.3, 1), (5, 0)])
def test_a_condition_is_the_exit_code(icshift, limit, expected):
    asked = *AGAINST, "dimmed.npz", "--fail-on", f"drift > {limit}"
    code, out, _ = icshift(*asked)
    assert code == expected
    found = json.loads(icshift(*asked, "--json")[1])
    failed = {check["site"] for check in found["checks"] if check["state"] == "failed"}
    assert failed == {site["site"] for site in found["sites"] if site["drift"] > limit}
    assert found["passed"] == (not expected)
    assert [line.split(": ")[0].split()[1] for line in out.splitlines() if line.startswith("FAILED ")] == [
        check["site"] for check in found["checks"] if check["state"] == "failed"
    ]
    assert "Its floor is that of the table: splits of each data set by example." in " ".join(out.split())


def test_the_checks_are_a_suite_of_junit(icshift, tmp_path):
    path = tmp_path / "shift.xml"
    asked = *AGAINST, "dimmed.npz", "--fail-on", "(input) drift > 0.1", "--fail-on", "fc* moved > 100%"
    assert icshift(*asked, "--junit", path)[0] == 1
    suite = ET.parse(path).getroot().find("testsuite")
    assert suite.get("name") == (
        "icshift shift step-400.pt, dimmed.npz against train.npz, floor from splits of each data set by example"
    )
    assert (suite.get("tests"), suite.get("failures")) == ("5", "1")
    code, out, _ = icshift(*asked, "--junit", "-")
    assert (code, out.encode()) == (1, path.read_bytes())


def test_a_run_and_a_file_are_written_by_one_command(icshift, tmp_path):
    for name in ("a.csv", "a.parquet", "a.json"):
        assert icshift(*AGAINST, "dimmed.npz", "--limit", 60, "-o", tmp_path / name, "-o", tmp_path / name[2:])[0] == 0
    assert {path.name: path.is_dir() for path in tmp_path.iterdir()} == {
        "a.csv": False, "a.parquet": False, "a.json": False, "csv": True, "parquet": True, "json": True,
    }  # fmt: skip
    assert len(pd.read_csv(tmp_path / "a.csv")) == len(pd.read_parquet(tmp_path / "a.parquet"))


@pytest.mark.thorough
def test_the_part_of_the_file_is_chosen_and_the_others_are_told(icshift, folder):
    torch.save({"state_dict": states()[5], "state_dict_ema": states()[400]}, folder / "both.pt")
    _, out, err = icshift(*AGAINST, "dimmed.npz", "--json", checkpoint="both.pt")
    assert err == ""
    assert json.loads(out)["notes"] == ["taken: state_dict; left aside: state_dict_ema, which --key takes"]
    _, chosen, _ = icshift(*AGAINST, "dimmed.npz", "--json", "--key", "state_dict_ema", checkpoint="both.pt")
    _, alone, _ = icshift(*AGAINST, "dimmed.npz", "--json")
    assert json.loads(chosen)["sites"] == json.loads(alone)["sites"] != json.loads(out)["sites"]


@pytest.mark.thorough
def test_noise_alone_does_not_fail(icshift):
    code, out, _ = icshift(*AGAINST, "test.npz", "--fail-on", "moved > 0", "--json")
    shifted = [site["site"] for site in json.loads(out)["sites"] if site["shifted"]]
    assert code == bool(shifted)
    assert icshift("--reference", "train.npz", "--data", "train.npz", "--fail-on", "moved > 0", "--limit", 100)[0] == 0


def test_what_cannot_be_known_fails(icshift):
    code, out, _ = icshift("--reference", "one.npz", "--data", "one.npz", "--fail-on", "drift > 1")
    assert code == 1
    assert "not measured  fc1: w1_sd > 1: too few examples to tell noise" in out


def test_sites_are_chosen_for_what_is_shown(icshift):
    whole = json.loads(icshift(*AGAINST, "dimmed.npz", "--json")[1])["sites"]
    part = json.loads(icshift(*AGAINST, "dimmed.npz", "--json", "--site", "fc*")[1])["sites"]
    assert part == [site for site in whole if site["site"].startswith("fc")]


@pytest.mark.thorough
def test_values_that_are_not_finite_are_counted(icshift):
    code, out, _ = icshift(*AGAINST, "broken.npz")
    assert code == 0
    assert "broken.npz: 4 values in 4 of 397 examples are not finite" in out
    found = json.loads(icshift(*AGAINST, "broken.npz", "--json")[1])
    assert found["data"]["nonfinite"] == 4
    assert len(found["notes"]) == 1


@pytest.mark.thorough
def test_a_limit_and_a_batch_size(icshift):
    code, out, _ = icshift(*AGAINST, "dimmed.npz", "--limit", 100, "--batch-size", 3, "--samples", "all")
    assert code == 0
    assert "(100 examples) against train.npz (100 examples)" in out


@pytest.mark.thorough
def test_types_devices_and_files_of_models(icshift):
    for options in (["--dtype", "float64"], ["--dtype", "bfloat16"], ["--device", "cpu"]):
        assert icshift(*AGAINST, "dimmed.npz", "--limit", 60, *options)[0] == 0
    model = "--model", "net.py:make", "--model-arg", "width=100", "--model-arg", "layers=3"
    assert icshift(*AGAINST, "dimmed.npz", "--limit", 60, model=model)[0] == 0


@pytest.mark.thorough
def test_what_stays_at_its_initialisation_is_told(icshift, folder):
    state = {name: value for name, value in states()[400].items() if not name.startswith("fc4")}
    torch.save(state, folder / "part.pt")
    assert icshift(*AGAINST, "dimmed.npz", checkpoint="part.pt")[0] == 2
    code, out, _ = icshift(*AGAINST, "dimmed.npz", "--partial", checkpoint="part.pt")
    assert code == 0
    assert "2 of 20 tensors stayed at their initialisation: fc4.weight, fc4.bias" in out


@pytest.mark.thorough
def test_a_model_that_is_somebodys_is_left_as_it_was(icshift):
    assert icshift(*AGAINST, "dimmed.npz", "--limit", 60, model=("--model", "somebodys.py:model"))[0] == 0
    model = sys.modules["somebodys"].model
    before = {name: value.clone() for name, value in network(seed=3).double().state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    options = "--dtype", "float32", "--limit", 60
    assert icshift(*AGAINST, "dimmed.npz", *options, model=("--model", "somebodys.py:model"))[0] == 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_whole_model_needs_no_spec_but_trust(icshift, folder):
    model = network()
    model.load_state_dict(states()[400])
    torch.save(model, folder / "whole.pt")
    assert icshift(*AGAINST, "dimmed.npz", checkpoint="whole.pt", model=())[0] == 2
    code, out, _ = icshift(*AGAINST, "dimmed.npz", "--unsafe-pickle", checkpoint="whole.pt", model=())
    assert code == 0
    assert "shifted" in out


MISTAKES = {
    "no saved model": (["gone.pt"], {}, "gone.pt: no such file"),
    "several saved models": (["."], {}, "saved models: give one, as"),
    "damaged": (["net.py"], {}, "net.py"),
    "no model": ([], {"--model": None}, "holds weights alone"),
    "argument of no model": ([], {"--model": None, "--model-arg": "width=3"}, "give --model too"),
    "no spec": ([], {"--model": "network"}, "is no spec"),
    "no such name": ([], {"--model": "tests.zoo.digits:net"}, "did you mean network"),
    "argument": ([], {"--model-arg": "depth=3"}, "unexpected keyword argument 'depth'"),
    "other model": ([], {"--model-arg": "width=50"}, "does not fit"),
    "wrong shapes": ([], {"--data": "narrow.npz"}, "[3, 60] float32: RuntimeError: mat1 and mat2"),
    "wrong shapes of the reference": ([], {"--reference": "narrow.npz"}, "[3, 60] float32"),
    "no rows": ([], {"--data": "none.npz"}, "none.npz holds no rows"),
    "no data": ([], {"--data": "gone.npz"}, "no such file: gone.npz"),
    "no such format": ([], {"--data": "step-400.h5"}, "is no data: expected a file"),
    "device": ([], {"--device": "nowhere"}, "device 'nowhere' cannot be used"),
    "type": ([], {"--dtype": "float33"}, "no floating-point type"),
    "batch size": ([], {"--batch-size": "0"}, "--batch-size"),
    "limit": ([], {"--limit": "none"}, "--limit"),
    "samples": ([], {"--samples": "1"}, "Invalid value for '--samples': expected a number from 2, or all; got '1'"),
    "metric": ([], {"--metric": "w3"}, "no metric 'w3'"),
    "metric by example": ([], {"--metric": "cka_distance"}, "data sets are of different ones; choose w1_sd, "),
    "site": ([], {"--site": "conv*"}, "no site 'conv*'"),
    "fail above": ([], {"--fail-above": "1"}, "--fail-above is gone: give --fail-on 'drift > X'"),
    "csv": ([], {"--csv": "x.csv"}, "--csv is gone: give -o FILE.csv"),
    "a condition": ([], {"--fail-on": "drift"}, "cannot read the condition 'drift'"),
    "a condition below 0": ([], {"--fail-on": "drift > -1"}, "never below 0"),
    "a condition by example": ([], {"--fail-on": "displacement > 1"}, "data sets are of different ones"),
    "a condition of no site": ([], {"--fail-on": "conv drift > 1"}, "no site 'conv'"),
    "no conditions for JUnit": ([], {"--junit": "new.xml"}, "give --fail-on too"),
    "existing run": ([], {"-o": "."}, "exists and is kept"),
    "existing table": ([], {"-o": "train.csv"}, "train.csv exists and is kept"),
    "a file of another kind": ([], {"-o": "new.html"}, "new.html is the name of a file, and a directory is written"),
    "two things on stdout": ([], {"-o": "-", "--json": "--quiet"}, "both go to stdout"),
    "a file twice": ([], {"-o": "new.csv"}, "-o new.csv is given twice"),
    "table nowhere": ([], {"-o": "nowhere/units.csv"}, "there is no directory nowhere"),
    "table nowhere, before any work": (
        [],
        {"-o": "nowhere/units.csv", "--data": "none.npz"},
        "there is no directory nowhere",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake, icshift, folder):
    checkpoint, changes, expected = MISTAKES[mistake]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}
    given = {"--model": MODEL[1], "--reference": "train.npz", "--data": "dimmed.npz", "-o": "new", "--limit": "60"}
    options = [part for pair in (given | changes).items() if pair[1] for part in pair] + ["-o", "new.csv"]
    code, out, err = icshift(*options, checkpoint=checkpoint[0] if checkpoint else "step-400.pt", model=())
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("icshift: ")
    assert expected in err
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_an_existing_run_is_kept_unless_forced(icshift, tmp_path):
    run, table = tmp_path / "run", tmp_path / "units.csv"
    options = [*AGAINST, "dimmed.npz", "--limit", 60, "-o", run, "-o", table]
    assert icshift(*options)[0] == 0
    created, rows = StoredRun(run).manifest["created"], table.read_text()
    assert icshift(*options)[0] == 2
    assert icshift(*AGAINST, "narrow.npz", "-o", run, "-o", table, "-f")[0] == 2
    assert (StoredRun(run).manifest["created"], table.read_text()) == (created, rows)
    assert icshift(*AGAINST, "test.npz", "--limit", 50, "-o", run, "-o", table, "-f")[0] == 0
    assert StoredRun(run).manifest["settings"]["data"]["examples"] == 50
    assert table.read_text() != rows
