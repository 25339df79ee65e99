"""What `icshift ls` prints of the runs below a directory."""

import json

import pandas as pd
import pytest

import icshift


@pytest.fixture
def folder(tmp_path, two_windows, with_batch_norm):
    """A directory of three runs, one of which cannot be read. A link would not be followed."""
    for name, run in (("a/plain", two_windows), ("b", with_batch_norm)):
        (tmp_path / name).mkdir(parents=True)
        for file in run.iterdir():
            (tmp_path / name / file.name).symlink_to(file)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text('{"format": 3, "sites": 7}')
    return tmp_path


def test_ls_has_a_row_a_run_and_fits_80_columns(folder, command):
    code, out, err = command("ls", folder)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(map(len, lines[1:])) <= 80 or "broken: cannot be read" in out
    assert lines[0] == f"3 runs in {folder}, 1 of them not whole" or "3 runs in" in out
    rows = [line.split() for line in lines if line.strip().startswith(("a/plain", "b "))]
    assert [row[0] for row in rows] == ["a/plain", "b"]
    assert all("finished" in row for row in rows)
    assert {"model", "state", "drift", "n"} <= set(next(line for line in lines if " state " in line).split())
    assert any("Sequential" in line for line in lines)
    assert "floor: the same by noise alone" in " ".join(out.split())


def test_json_and_files_are_the_api(folder, command, tmp_path):
    found = json.loads(command("ls", folder, "--json")[1])["runs"]
    table = icshift.open_all(folder).table()
    assert [row["run"] for row in found] == table["run"].tolist()
    assert found[0]["drift"] == pytest.approx(table["drift"][0])
    assert command("ls", folder, "-o", tmp_path / "runs.csv", "-q")[0] == 0
    assert pd.read_csv(tmp_path / "runs.csv")["site"].tolist()[:2] == table["site"].tolist()[:2]
    assert "drift" not in " ".join(command("ls", folder, "--fast")[1].split()).replace("furthest", "")


def test_a_directory_without_runs_is_one_line(refused):
    assert "there is no run in" in refused("ls")
    assert "no such directory" in refused("ls", "nowhere")


def test_open_all_is_a_sequence_of_runs(folder):
    runs = icshift.open_all(folder)
    assert len(runs) == 3
    assert runs[0].name == "plain"
    assert [run.name for run in runs[:2]] == ["plain", "b"]
    (folder / "broken" / "run.json").unlink()
    both = icshift.open_all(folder)
    table = both.report()
    assert table.groupby("run").size().tolist() == [len(run.report()) for run in both]
    assert "open_all" in dir(icshift)
