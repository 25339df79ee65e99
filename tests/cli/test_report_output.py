"""`icshift report -o FILE`: the suffix decides, and nothing is replaced without being asked to."""

import json
import sys

import pytest


@pytest.mark.some(2)
@pytest.mark.parametrize("suffix", ["html", "md", "csv", "json", "svg"])
def test_a_file_is_written_and_stdout_stays_empty(suffix, two_windows, tmp_path, command):
    file = tmp_path / f"run.{suffix}"
    code, out, err = command("report", two_windows, "-o", file)
    assert (code, out) == (0, "")
    assert f"run.{suffix}: {'open it in a browser' if suffix == 'html' else 'written'}" in err
    assert file.stat().st_size > 100


def test_what_is_there_is_kept_unless_forced(two_windows, tmp_path, command):
    file = tmp_path / "run.html"
    file.write_text("mine")
    code, _, err = command("report", two_windows, "-o", file)
    assert code == 2
    assert "exists and is kept: choose another path, or --force" in err
    assert file.read_text() == "mine"
    assert command("report", two_windows, "-o", file, "-f", "-q") == (0, "", "")
    assert file.read_text().startswith("<!doctype html>")


def test_an_unknown_suffix_is_told_before_any_work(refused):
    said = refused("report", "nowhere", "-o", "run.xlsx")
    assert "no report is written as .xlsx: take .html, .md, .csv, .json, .svg, .png or .pdf" in said


def test_a_window_is_chosen_and_told(with_batch_norm, tmp_path, command):
    file, svg = tmp_path / "run.html", tmp_path / "run.svg"
    assert command("report", with_batch_norm, "--window", "2", "-o", file)[0] == 0
    assert '"name":"Sites in window 2"' in file.read_text()
    assert '"window":1' in file.read_text()
    assert command("report", with_batch_norm, "--window", "2", "-o", svg)[0] == 0
    assert "frame = window 2" in svg.read_text()


def test_a_figure_takes_site_unit_and_theme(two_windows, tmp_path, command):
    file = tmp_path / "fan.svg"
    options = ("--figure", "fan", "--site", "fc1", "--unit", "3", "--theme", "dark", "-o", file)
    assert command("report", two_windows, *options)[0] == 0
    assert "fc1, percentile 50 by step" in file.read_text()
    assert "unit 3" in file.read_text()


def test_two_runs_are_a_comparison_or_panels(two_windows, with_batch_norm, tmp_path, command):
    file = tmp_path / "both.svg"
    code, _, err = command("report", two_windows, with_batch_norm, "-o", file)
    assert (code, "windows of phase train" in err) == (2, True)
    assert command("report", two_windows, with_batch_norm, "--figure", "fan", "-o", file)[0] == 0
    assert "normed: norm1" in file.read_text()
    assert ".html is of several" in command("report", two_windows, with_batch_norm, "-o", tmp_path / "both.md")[2]


def test_what_is_for_a_figure_takes_a_file(two_windows, command):
    code, _, err = command("report", two_windows, "--figure", "atlas")
    assert code == 2
    assert "name its file, -o FILE.svg, .png or .pdf" in err


def test_the_options_are_those_of_the_report(two_windows, tmp_path, command, monkeypatch):
    file = tmp_path / "run.json"
    options = ["--phase", "probe", "--site", "fc2", "--metric", "w1", "--reference", "first"]
    command("report", two_windows, *options, "-o", file)
    found, printed = json.loads(file.read_text()), json.loads(command("report", two_windows, *options, "--json")[1])
    assert found["sites"] == printed["sites"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/icshift", "report", "my run", "-o", "run.html"])
    command("report", two_windows, "-o", tmp_path / "run.html")
    assert '"command":"icshift report \'my run\' -o run.html"' in (tmp_path / "run.html").read_text()


def test_a_page_against_a_stranger_is_refused_with_what_to_do(two_windows, with_batch_norm, tmp_path, command):
    code, _, err = command("report", two_windows, "--reference", f"run:{with_batch_norm}", "-o", tmp_path / "run.html")
    assert code == 2
    assert "no file can be written of" in err
    assert "leave out -o to see what does not depend on one" in err
    assert not (tmp_path / "run.html").exists()
