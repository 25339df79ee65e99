"""What each command prints, writes and answers to mistakes, as a user meets it: in a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

import icshift
from icshift.analysis.drift import COLUMNS
from icshift.analysis.metrics import METRICS
from icshift.runs.format import Site, Window
from icshift.runs.writer import Recording
from tests.recorded import distribution


def icshift_command(*arguments, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-m", "icshift", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "80", **environment},
        check=False,
        timeout=600,
    )


def printed(*arguments, **options):
    done = icshift_command(*arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_report_has_a_row_a_site_in_model_order(with_batch_norm):
    text = printed("report", with_batch_norm)
    sites = [line.split()[0] for line in text.splitlines() if line.strip().startswith(("fc", "norm"))]
    assert sites == ["fc1", "norm1", "fc2"]
    assert "norm1 †" in text
    assert "Next: icshift units" in text


def test_report_fits_80_columns(with_batch_norm):
    lines = printed("report", with_batch_norm, "-q").splitlines()
    assert max(len(line) for line in lines[1:]) <= 80


def test_report_json_is_the_api(with_batch_norm):
    found = json.loads(printed("report", with_batch_norm, "--json", "--metric", "ks", "--reference", "first"))
    expected = icshift.open(with_batch_norm).report("ks", reference="first")
    assert [row["site"] for row in found["sites"]] == expected["site"].tolist()
    assert [row["median"] for row in found["sites"]] == pytest.approx(expected["median"].tolist())


def test_report_of_one_window_shows_its_distribution(one_window):
    text = printed("report", one_window)
    assert "nothing to compare" in text
    fc1 = next(line for line in text.splitlines() if line.strip().startswith("fc1"))
    mean = icshift.open(one_window).windows().query("site == 'fc1' and phase == 'train'")["mean"].median()
    assert f"{mean:.3f}" in fc1


def test_report_of_a_probe_has_no_floor(two_windows):
    shown = printed("report", two_windows, "--phase", "probe")
    assert "Paired: the same inputs in every window" in shown
    head = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["site"])
    assert head == ["site", "drift", "p90", "max", "trend", "loc", "scl", "shp", "health"]
    assert "--phase probe   (the site that drifts most)" in " ".join(shown.split("\n"))


def test_report_chooses_sites_by_glob(with_batch_norm):
    found = json.loads(printed("report", with_batch_norm, "--json", "--site", "fc*"))
    assert [row["site"] for row in found["sites"]] == ["fc1", "fc2"]


def test_units_come_with_the_most_drifting_first(two_windows):
    found = json.loads(printed("units", two_windows, "--site", "fc1", "--top", "5", "--json"))["units"]
    drift = icshift.open(two_windows).drift(sites="fc1")
    expected = drift.sort_values("value", ascending=False)["unit"].head(5).tolist()
    assert [row["unit"] for row in found] == expected


def test_units_fit_80_columns(two_windows):
    assert max(map(len, printed("units", two_windows, "--site", "fc1", "-q").splitlines()[1:])) <= 80


def test_units_of_one_window_say_so(one_window):
    assert "nothing to compare" in printed("units", one_window, "--site", "fc1")


def test_one_unit_is_drawn_over_its_steps(two_windows):
    text = printed("units", two_windows, "--site", "fc1", "--unit", "3")
    assert "━" in text
    assert text.rstrip().endswith("19")


def test_one_unit_as_json_is_its_step_series(two_windows):
    found = json.loads(printed("units", two_windows, "--site", "fc1", "--unit", "3", "--json"))
    steps = icshift.open(two_windows).steps(phase="train", sites=["fc1"]).query("unit == 3")
    assert [row["q50"] for row in found["steps"]] == pytest.approx(steps["q50"].tolist())


def test_info_tells_what_the_run_holds(two_windows):
    text = printed("info", two_windows)
    for expected in ("Sequential", "train, eval, probe", "50 examples", "ReLU", "fc2"):
        assert expected in text
    found = json.loads(printed("info", two_windows, "--json"))
    assert found["finished"] is True
    assert len(found["windows"]) == 2


def test_info_lists_every_metric():
    text = printed("info", "--metrics")
    assert all(name in text for name in METRICS)


def test_export_is_tidy_in_every_format(two_windows, tmp_path):
    tables = []
    for suffix, read in ((".csv", pd.read_csv), (".json", pd.read_json), (".parquet", pd.read_parquet)):
        path = tmp_path / f"drift{suffix}"
        printed("export", two_windows, "-o", path)
        tables.append(read(path))
    assert tuple(tables[0].columns[: len(COLUMNS)]) == COLUMNS
    for table in tables:
        assert set(table["metric"]) == {"w1", "w1_sd"}
        assert set(table["phase"]) == {"train", "eval", "probe"}
        assert len(table) == 2 * 3 * (8 + 3)
        np.testing.assert_allclose(table["value"], tables[0]["value"], rtol=1e-9)


def test_export_to_stdout_is_csv(two_windows, tmp_path):
    text = printed("export", two_windows, "-o", "-")
    printed("export", two_windows, "-o", tmp_path / "drift.csv")
    assert text == (tmp_path / "drift.csv").read_text()


def test_export_of_all_metrics(two_windows, tmp_path):
    printed("export", two_windows, "-o", tmp_path / "all.csv", "--metric", "all", "--phase", "train", "--site", "fc2")
    table = pd.read_csv(tmp_path / "all.csv")
    assert set(table["metric"]) == set(METRICS)
    assert set(table["site"]) == {"fc2"}
    assert len(table) == sum(1 if one.of == "site" else 3 for one in METRICS.values())
    assert table["value"].isna().tolist() == table["metric"].map(lambda name: METRICS[name].by_example).tolist()


def test_export_of_one_window_has_its_header(one_window, tmp_path):
    printed("export", one_window, "-o", tmp_path / "none.csv")
    assert tuple((tmp_path / "none.csv").read_text().strip().split(","))[: len(COLUMNS)] == COLUMNS


def test_export_never_overwrites_silently(two_windows, tmp_path):
    path = tmp_path / "drift.csv"
    path.write_text("mine")
    done = icshift_command("export", two_windows, "-o", path)
    assert (done.returncode, path.read_text()) == (2, "mine")
    assert "--force" in done.stderr
    printed("export", two_windows, "-o", path, "--force")
    assert path.read_text().startswith("run,phase")


def test_references_to_another_phase_and_run(two_windows, with_batch_norm):
    found = json.loads(printed("report", two_windows, "--json", "--reference", "phase:eval"))
    assert {row["reference"] for row in found["sites"]} == {"phase:eval"}
    found = json.loads(printed("report", two_windows, "--json", "--reference", f"run:{with_batch_norm}"))
    assert {row["site"] for row in found["sites"]} == {"fc1", "fc2"}


def test_no_colour_when_not_wanted(two_windows):
    assert "\x1b[" in printed("report", two_windows, FORCE_COLOR="1")
    assert "\x1b[3" not in printed("report", two_windows, "--no-color", FORCE_COLOR="1")


def test_a_pipe_that_closes_early_is_no_error(two_windows):
    command = f"{sys.executable} -m icshift export {two_windows} -o - | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False, timeout=600
    )
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("run,phase")


MISTAKES = {
    "no such run": (["report", "nowhere"], "no such run: nowhere"),
    "not a run": (["report", "."], "no icshift run"),
    "unknown site": (["report", "RUN", "--site", "fc11"], "no site 'fc11'; did you mean fc1"),
    "unknown site of units": (["units", "RUN", "--site", "fx2"], "did you mean fc2"),
    "unknown unit": (["units", "RUN", "--site", "fc2", "--unit", "3"], "no unit 3 in site fc2: it has units 0 to 2"),
    "unknown metric": (["report", "RUN", "--metric", "w1sd"], "no metric 'w1sd'; did you mean w1_sd"),
    "unknown reference": (["report", "RUN", "--reference", "previos"], "did you mean previous"),
    "unknown phase": (["report", "RUN", "--phase", "trian"], "no phase 'trian'; did you mean train"),
    "unknown phase of a reference": (["report", "RUN", "--reference", "phase:evl"], "did you mean eval"),
    "unknown run of a reference": (["report", "RUN", "--reference", "run:nowhere"], "no such run: nowhere"),
    "unknown format": (["export", "RUN", "-o", "drift.xls"], "no export format '.xls'"),
    "no such directory": (["export", "RUN", "-o", "nowhere/drift.csv"], "there is no directory nowhere"),
    "nowhere to write": (["export", "RUN", "-o", "/proc/drift.csv"], "/proc/drift.csv cannot be written"),
    "unknown command": (["reprot", "RUN"], "reprot"),
    "unknown option": (["report", "RUN", "--colour"], "--colour"),
    "no site given": (["units", "RUN"], "--site"),
    "too few rows": (["report", "RUN", "--top", "0"], "--top"),
}


@pytest.mark.parametrize(
    "arguments",
    [["report"], ["export", "-o", "-"], ["export", "-o", "x.csv"], ["units", "--site", "fc1"]],
    ids=" ".join,
)
def test_a_run_without_windows_is_one_line(arguments, tmp_path):
    Recording(tmp_path / "run", {"sites": [asdict(Site("fc1", "Linear", axis=1, units=3))]})
    done = icshift_command(arguments[0], "run", *arguments[1:], cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "no windows yet" in done.stderr


def test_a_reference_phase_that_is_the_only_one_is_one_line(tmp_path):
    path = tmp_path / "run"
    site = Site("fc1", "Linear", axis=1, units=3)
    recording = Recording(path, {"sites": [asdict(site)]})
    recording.write_window(Window(1, "1", 0, 9, True), {("train", site): distribution(np.ones((3, 10)))})
    done = icshift_command("export", path, "-o", "-", "--reference", "phase:train")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "is the phase itself" in done.stderr


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_and_exit_code_2(mistake, two_windows, tmp_path):
    arguments, expected = MISTAKES[mistake]
    done = icshift_command(*[two_windows if word == "RUN" else word for word in arguments], cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("icshift: ")
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr
    assert not list(tmp_path.iterdir())
