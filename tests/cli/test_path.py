"""What `icshift path` prints: how far every site went, and how straight."""

import json
import re

import pytest

import icshift


def test_path_has_a_row_a_site_and_fits_80_columns(with_batch_norm, command):
    code, out, err = command("path", with_batch_norm, "-q")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if line.strip().startswith(("fc", "norm"))] == ["fc1", "norm1", "fc2"]
    assert max(map(len, lines[1:])) <= 80
    assert "phase train · 4 windows, 1 to 4" in " ".join(lines)
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


def test_what_a_path_does_not_show_is_said_and_is_never_the_longest(with_batch_norm, command):
    paths = icshift.open(with_batch_norm).paths()
    longest = paths.loc[paths["path"].idxmax(), "site"]
    found = json.loads(command("path", with_batch_norm, "--top", "1", "--json")[1])
    assert [row["site"] for row in found["sites"]] == [longest]
    assert found["notes"] == ["1 of 3 sites are shown, those that went furthest: --top 3 shows all."]
    assert found["notes"][0] in " ".join(command("path", with_batch_norm, "--top", "1")[1].split())


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
