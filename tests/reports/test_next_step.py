"""The line of a next step; `tests/cli/test_main_next_step.py` types those of all commands."""

import pytest

from icshift.reports.next_step import next_step, window_shown
from tests.recorded import of_zoo, site
from tests.reports.shown import run_of


@pytest.fixture
def run(tmp_path):
    windows = [{(phase, "fc"): of_zoo("normal", 90) for phase in ("train", "eval")} for _ in range(2)]
    return run_of(tmp_path / "my run", windows, sites=[site("fc")])


def test_what_a_command_takes_by_itself_is_left_out(run):
    line = next_step("units", run, site="fc", phase="train", metric="w1_sd", reference="previous", window="")
    assert line == f"Next: icshift units '{run.path}' --site fc"


def test_everything_else_is_there_quoted_and_what_it_shows_comes_last(run):
    line = next_step("report", run, phase="eval", window="epoch 1", why="more")
    assert line == f"Next: icshift report '{run.path}' --phase eval --window 'epoch 1'   (more)"


def test_the_last_window_need_not_be_named(run):
    assert window_shown(run) == ""
    assert window_shown(run.until(run.window("epoch 1"))) == "epoch 1"
