"""A run that has lost a file: every command that reads it says so, as data or beside what it writes."""

import json
import shutil
from io import StringIO

import pandas as pd
import pytest

from tests.recorded import change_manifest

LOST = "1 of the 4 windows in windows/ is missing."

AS_JSON = {
    "info": (),
    "report": (),
    "report of all windows": ("--window", "all"),
    "report of an earlier one": ("--window", "3"),
    "units": ("--site", "fc1"),
    "units over steps": ("--site", "fc1", "--unit", "0"),
    "path": (),
    "onset": (),
    "check": ("--fail-on", "ks > 0.9"),
    "watch": (),
    "merge": (),
}

AGAINST = ("report", "report of all windows", "report of an earlier one", "units", "check")
"""Those that compare with another run."""

WRITES = {
    "export": ("{run}", "-o", "{out}.csv"),
    "export of parquet": ("{run}", "-o", "{out}.parquet"),
    "export to stdout": ("{run}", "-o", "-"),
    "export under quiet": ("{run}", "-o", "-", "--quiet"),
    "export for a dashboard": ("{run}", "--to", "tensorboard", "-o", "{out}"),
    "report": ("{run}", "-o", "{out}.csv"),
    "report as JSON": ("{run}", "-o", "{out}.json"),
    "report as a page": ("{run}", "-o", "{out}.html"),
    "compare": ("{run}", "{other}", "-o", "{out}.csv"),
    "compare to stdout": ("{other}", "{run}", "-o", "-"),
}


@pytest.fixture
def lost(with_batch_norm, tmp_path):
    """A run whose second window is gone."""
    run = shutil.copytree(with_batch_norm, tmp_path / "run")
    (run / "windows" / "000002.rank0.parquet").unlink()
    return run


@pytest.mark.parametrize("name", AS_JSON)
def test_json_says_that_files_are_gone(name, lost, command):
    code, out, err = command(name.split()[0], lost, *AS_JSON[name], "--json")
    assert code in (0, 1), err
    first = out.splitlines()[0] if name == "watch" else out
    assert json.loads(first)["missing"] == [LOST]


@pytest.mark.parametrize("name", ["ls", "compare"])
def test_tables_of_runs_say_it_of_each(name, lost, tmp_path, printed):
    runs = [lost, shutil.copytree(lost, tmp_path / "other")] if name == "compare" else [lost]
    table = json.loads(printed(name, *runs, "--json"))["runs"]
    assert table[0]["state" if name == "ls" else "ending"] == "files are missing"
    assert table[0]["missing"] == [LOST]
    assert f"{lost}: {LOST}" in " ".join(printed(name, *runs).split()) or name == "ls"


def test_list_of_runs_says_it_of_those_that_have_lost_any(lost, with_batch_norm, tmp_path, printed):
    shutil.copytree(with_batch_norm, tmp_path / "whole")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")
    rows = {row["run"]: row["missing"] for row in json.loads(printed("ls", tmp_path, "--json"))["runs"]}
    assert rows[str(tmp_path / "whole")] == []
    assert rows[str(lost)] == [LOST]
    assert f"run: {LOST}" in printed("ls", tmp_path)
    written = pd.read_csv(StringIO(printed("ls", tmp_path, "-o", "-"))).set_index("run")["missing"]
    assert written.fillna("").to_dict() == {path: " ".join(told) for path, told in rows.items()}


@pytest.mark.parametrize("kind", ["run", "paired-run"])
@pytest.mark.parametrize("name", AGAINST)
def test_json_says_it_of_the_run_that_is_compared_with(name, kind, lost, with_batch_norm, command):
    against = ("--reference", f"{kind}:{lost}")
    code, out, err = command(name.split()[0], with_batch_norm, *AS_JSON[name], *against, "--json")
    assert code in (0, 1), err
    assert json.loads(out)["missing"] == [f"{lost}: {LOST}"]
    words = command(name.split()[0], with_batch_norm, *AS_JSON[name], *against)[1]
    assert f"{lost}: {LOST}" in " ".join(words.split())


def test_json_says_it_of_both(lost, tmp_path, command):
    other = shutil.copytree(lost, tmp_path / "other")
    told = json.loads(command("report", lost, "--reference", f"run:{other}", "--json")[1])["missing"]
    assert told == [LOST, f"{other}: {LOST}"]


def test_json_says_it_of_a_stranger(lost, with_batch_norm, tmp_path, command):
    run = shutil.copytree(with_batch_norm, tmp_path / "stranger")
    change_manifest(run / "run.json", initial_weights="of another", final_weights="of another")
    told = json.loads(command("report", run, "--reference", f"run:{lost}", "--json")[1])
    assert told["unordered"]
    assert told["missing"] == [f"{lost}: {LOST}"]


@pytest.mark.parametrize("name", [name for name in WRITES if not name.startswith("compare")])
def test_who_writes_data_is_told_once_of_the_run_that_is_compared_with(name, lost, with_batch_norm, tmp_path, command):
    rest = [part.format(run=with_batch_norm, out=tmp_path / "out") for part in WRITES[name]]
    code, _, err = command(name.split()[0], *rest, "--reference", f"run:{lost}")
    assert (code, err.count(f"icshift: {lost}: {LOST}"), err.count(LOST)) == (0, 1, 1)


@pytest.mark.parametrize("name", WRITES)
def test_who_writes_data_is_told_once(name, lost, tmp_path, command):
    other = shutil.copytree(lost, tmp_path / "other")
    rest = [part.format(run=lost, other=other, out=tmp_path / "out") for part in WRITES[name]]
    code, _, err = command(name.split()[0], *rest)
    assert (code, err.count(f"icshift: {lost}: {LOST}")) == (0, 1)


def test_of_a_whole_run_nothing_is_missing(with_batch_norm, command):
    assert json.loads(command("info", with_batch_norm, "--json")[1])["missing"] == []
    assert command("export", with_batch_norm, "-o", "-")[2] == ""
