"""A run that has lost a file: every command that reads it says so, as data or beside what it writes."""

import json
import shutil

import pytest

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


@pytest.mark.parametrize("name", WRITES)
def test_who_writes_data_is_told_once(name, lost, tmp_path, command):
    other = shutil.copytree(lost, tmp_path / "other")
    rest = [part.format(run=lost, other=other, out=tmp_path / "out") for part in WRITES[name]]
    code, _, err = command(name.split()[0], *rest)
    assert (code, err.count(f"icshift: {lost}: {LOST}")) == (0, 1)


def test_of_a_whole_run_nothing_is_missing(with_batch_norm, command):
    assert json.loads(command("info", with_batch_norm, "--json")[1])["missing"] == []
    assert command("export", with_batch_norm, "-o", "-")[2] == ""
