"""The words of a next step: what a command shows by itself is left out, and everything is quoted."""

import shlex

import numpy as np
import pytest

from icshift.reports.next_step import next_step, window_shown
from tests.recorded import distribution, site
from tests.reports.shown import run_of


@pytest.fixture
def run(tmp_path):
    windows = [{("train", "a"): distribution(np.random.default_rng(n).normal(n, 1, (3, 99)))} for n in range(3)]
    return run_of(tmp_path / "my run", windows, sites=[site("a")])


def test_what_a_command_shows_by_itself_is_left_out(run):
    said = next_step("report", run, phase="train", metric="w1_sd", reference="previous", window="")
    assert shlex.split(said) == ["Next:", "icshift", "report", str(run.path)]


def test_everything_else_is_kept_and_quoted(run):
    said = next_step("units", run, why="its units", site="a;b c", reference="first", metric="ks")
    command, why = said.split("   ")
    assert shlex.split(command)[2:] == [
        *("units", str(run.path), "--site", "a;b c", "--reference", "first", "--metric", "ks"),
    ]
    assert why == "(its units)"


def test_a_window_is_named_where_it_is_not_the_last(run):
    assert window_shown(run) == ""
    assert window_shown(run.until(run.window_list[1])) == run.window_list[1].name
