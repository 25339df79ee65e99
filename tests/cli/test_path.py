"""What `icshift path` prints, and what the other commands make of metrics of a whole site and of paired rows."""

import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest

import icshift
from icshift.cli.main import _run


@pytest.fixture
def command(capfd, monkeypatch):
    """Runs a command and gives its exit code, output and errors."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments):
        capfd.readouterr()
        code = _run([str(one) for one in arguments])
        return code, *capfd.readouterr()

    return run


def test_path_has_a_row_a_site_and_fits_80_columns(with_batch_norm, command):
    code, out, err = command("path", with_batch_norm, "-q")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if line.strip().startswith(("fc", "norm"))] == ["fc1", "norm1", "fc2"]
    assert max(map(len, lines[1:])) <= 80
    assert "phase train · 4 windows, 1 to 4" in lines[0]
    assert "sampling noise alone, n = 200" in " ".join(lines)
    # Nothing is cut off: a mark of the trend for every part of the path.
    trend = re.compile("[▁▂▃▄▅▆▇█]+$")
    assert [len(trend.search(line.rstrip())[0]) for line in lines if trend.search(line.rstrip())] == [3, 3, 3]


def test_path_of_a_probe_has_no_floor_and_what_the_parameters_did(with_batch_norm, command):
    _, out, _ = command("path", with_batch_norm, "--phase", "probe", "--metric", "displacement")
    assert "floor" not in out
    assert "Paired: the same inputs in every window, n = 50" in out
    expected = icshift.open(with_batch_norm).paths("displacement", phase="probe")
    fc2 = next(line.split() for line in out.splitlines() if line.strip().startswith("fc2"))
    last = expected.iloc[-1]
    shown = [f"{last[name]:.3f}" for name in ("path", "displacement", "per_change")]
    assert fc2[1:5] == [*shown[:2], f"{last['straightness']:.2f}", shown[2]]
    assert f"own path: {last['parameter_path']:.3f}" in out


def test_path_json_is_the_api(with_batch_norm, command):
    found = json.loads(command("path", with_batch_norm, "--json", "--metric", "w1", "--site", "fc*")[1])
    expected = icshift.open(with_batch_norm).paths("w1", sites="fc*")
    assert [row["site"] for row in found["sites"]] == expected["site"].tolist() == ["fc1", "fc2"]
    assert [row["straightness"] for row in found["sites"]] == pytest.approx(expected["straightness"].tolist())


def test_path_is_the_sum_of_the_drifts_of_the_report(with_batch_norm):
    run = icshift.open(with_batch_norm)
    drifts = run.drift("w1", phase="probe", sites="fc2")
    found = run.paths("w1", phase="probe", sites="fc2").iloc[0]
    assert found["path"] == pytest.approx(drifts.groupby("unit")["value"].sum().median())
    first = run.drift("w1", phase="probe", sites="fc2", reference="first")
    assert found["displacement"] == pytest.approx(first[first["window"] == 4]["value"].median())


def test_path_says_what_to_do_next(with_batch_norm, two_windows, command):
    assert f"Next: icshift path {with_batch_norm} --phase probe" in command("path", with_batch_norm)[1]
    out = command("path", two_windows, "--phase", "probe")[1]
    assert f"Next: icshift report {two_windows} --phase probe --reference first" in out
    assert "it takes three to tell a trend" in out


def test_path_of_one_window_is_one_line(one_window, command):
    code, out, err = command("path", one_window)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "at least two windows of a phase, phase train has 1" in err


@pytest.mark.parametrize("metric", ["displacement", "displacement_sd", "marginal_share", "sliced_w2", "cka_distance"])
def test_report_of_examples(metric, two_windows, command):
    code, out, err = command("report", two_windows, "--metric", metric, "--phase", "probe")
    assert (code, err) == (0, "")
    expected = icshift.open(two_windows).report(metric, phase="probe")
    for line, value in zip(
        [line for line in out.splitlines() if line.strip().startswith("fc")], expected["median"], strict=True
    ):
        assert line.split()[1] == f"{value:.3f}"
    assert "n = 50 activations a unit of the probe" in out
    whole = metric in ("sliced_w2", "cka_distance")
    head = next(line for line in out.splitlines() if line.strip().startswith("site"))
    assert not {"floor", "×floor", "moved"} & set(head.split())
    assert ("p90" in head) != whole
    assert ("of the site as a whole" in out) == whole
    assert ("have nothing to do with each other" in out) == (metric == "cka_distance")
    assert ("2 standard errors" in out) == (metric == "sliced_w2")
    assert max(map(len, out.splitlines()[1:-1])) <= 80
    follow = re.search(r"Next: icshift (units .*?)   \((.*)\)", out)
    assert ("--metric" in follow[1]) != whole
    assert ("drifts most" in follow[2]) == (metric != "marginal_share")
    assert command(*shlex.split(follow[1]))[0] == 0


MISTAKES = {
    "no examples": (["report", "RUN", "--metric", "cka_distance"], "phase train has none: choose --phase probe"),
    "no examples of units": (["units", "RUN", "--site", "fc1", "--metric", "displacement"], "choose --phase probe"),
    "no units": (
        ["units", "RUN", "--site", "fc1", "--metric", "cka_distance", "--phase", "probe"],
        "--metric cka_distance --phase probe --site fc1 shows it",
    ),
    "no examples to check": (["check", "RUN", "--fail-on", "displacement > 1"], "choose --phase probe"),
    "no 90th percentile": (["check", "RUN", "--fail-on", "p90(sliced_w2) > 1"], "one number a site: there is no p90"),
    "no floor": (["check", "RUN", "--fail-on", "cka_distance > 3x floor"], "has no floor: give a number"),
    "other examples": (
        ["shift", "x.pt", "--model", "a:b", "--reference", "c", "--data", "d", "--metric", "cka_distance"],
        "data sets are of different ones; choose w1_sd, ",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, two_windows, command):
    arguments, expected = MISTAKES[mistake]
    code, out, err = command(*[two_windows if word == "RUN" else word for word in arguments])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert expected in err


def test_units_of_examples(two_windows, command):
    code, out, _ = command("units", two_windows, "--site", "fc1", "--metric", "displacement", "--phase", "probe")
    assert code == 0
    words = " ".join(out.split())
    assert "drift: displacement in activation, mean distance that each example moved." in words
    assert "n = 50 paired activations each" in words
    assert "floor" not in words  # A probe has no noise.
    assert "noise" not in words


def test_units_of_a_long_name_fit_80_columns(two_windows, command):
    out = command("units", two_windows, "--site", "fc1", "--metric", "mean_shift_sd")[1]
    head = next(line.split() for line in out.splitlines() if line.split()[:1] == ["unit"])
    assert head == ["unit", "drift", "floor", "×floor", "mean", "sd", "q15", "q50", "q85", "zeros"]


def test_check_of_examples(two_windows, command):
    table = icshift.open(two_windows).report("cka_distance", phase="probe").set_index("site")["median"]
    limit = table.mean()
    code, out, _ = command(
        "check",
        two_windows,
        "--phase",
        "probe",
        "--fail-on",
        f"cka_distance > {limit}",
        "--fail-on",
        "marginal_share > 101%",
    )
    assert code == 2
    code, out, _ = command(
        "check",
        two_windows,
        "--phase",
        "probe",
        "--fail-on",
        f"cka_distance > {limit}",
        "--fail-on",
        "displacement > 1e9",
    )
    assert code == 1
    assert f"FAILED        {table.idxmax()}: cka_distance" in out
    assert "(n = 50, window 2)" in out
    assert "ok            displacement > 1000000000: 2 sites" in out


def test_exported_metrics_of_a_site_are_read_as_numbers(two_windows, command, tmp_path):
    path = tmp_path / "drift.csv"
    code, _, err = command("export", two_windows, "-o", path, "--metric", "all")
    assert (code, err.count(";")) == (0, 0)
    table = pd.read_csv(path)
    assert table["unit"].dtype.kind == "i"
    whole = table[table["unit"] == -1]
    assert set(whole["metric"]) == {"sliced_w2", "cka_distance"}
    assert whole["value"].notna().tolist() == (whole["phase"] == "probe").tolist()
    assert np.isfinite(whole["error"][(whole["phase"] == "probe") & (whole["metric"] == "sliced_w2")]).all()
    _, _, err = command("export", two_windows, "-o", path, "-f", "--metric", "cka_distance", "--phase", "train")
    assert "cka_distance without values" in " ".join(err.split())


def test_info_says_what_metrics_are_of(command):
    out = command("info", "--metrics", "any")[1]
    assert "site, probe" in out
    assert "unit, probe" in out
