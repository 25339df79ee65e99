"""What is said of a run: what it holds, what it does not, and what recording it cost."""

import pytest

from icshift.reports.run import added_time, coverage, overhead, run_report
from icshift.runs.format import Site
from tests.recorded import of_zoo
from tests.reports.shown import run_of, words

LEDGER = [
    {"module": "fc1", "type": "Linear", "state": "observed", "reason": ""},
    {"module": "old", "type": "Linear", "state": "excluded", "reason": "not asked for"},
    {"module": "fc8", "type": "Linear", "state": "never called", "reason": "no tensor came"},
    {"module": "fc9", "type": "Linear", "state": "never called", "reason": "no tensor came", "ranks": [1]},
]


ABOUT = {"parameters": 1234, "icshift": "0", "torch": "0", "steps": 20, "created": "today", "ledger": LEDGER}


@pytest.fixture
def run(tmp_path):
    cost = {"recording_seconds": 1.0, "wall_seconds": 5.0}
    windows = [{("train", "fc1"): of_zoo("normal", 100)}] * 2
    return run_of(
        tmp_path / "run", windows, sites=[Site("fc1", "Linear", 1, 3, feeds=("ReLU",))], **ABOUT, overhead=cost
    )


def test_what_it_holds(run):
    said = words(run_report(run))
    assert "model Net, 1,234 parameters" in said
    assert "windows 2 (epoch 1 to epoch 2)" in said
    assert "fc1 Linear 3 1 ReLU –" in said
    assert "fc9 (Linear): never called in process 1 – no tensor came" in said
    assert "recorded today · icshift 0 · torch 0 steps" in said
    assert run_report(run).data["phases"] == ["train"]


def test_which_kernel_recorded_it(tmp_path):
    run = run_of(tmp_path / "run", [], sites=[], **ABOUT, kernel="native")
    assert "recorded today · icshift 0 · torch 0 · kernel native" in words(run_report(run))


def test_what_was_not_recorded(run, tmp_path):
    assert coverage(run) == f"Modules not recorded: 2 never called (`icshift info {run.path}` says which and why)"
    assert "icshift info elsewhere" in coverage(run, "elsewhere")
    assert coverage(run_of(tmp_path / "whole", [], sites=[], ledger=LEDGER[:2])) == ""


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([1], "in process 1"),
        ([0, 1], "in processes 0 and 1"),
        ([0, 1, 3, 4], "in processes 0, 1, 3 and 4"),
        ([*range(7)], "in 7 processes (0, 1, 2, …)"),
    ],
)
def test_what_some_processes_alone_did_not_call(ranks, said, tmp_path):
    fc = {"module": "fc1", "type": "Linear", "state": "observed", "reason": "", "ranks": [8, 9]}
    ledger = [fc, fc | {"state": "never called", "reason": "no tensor came", "ranks": ranks}]
    run = run_of(tmp_path / "run", [], sites=[], **ABOUT | {"ledger": ledger})
    told = words(run_report(run))
    assert f"fc1 (Linear): never called {said} – no tensor came" in told
    assert "modules 1 observed, 1 never called in some processes" in told
    assert coverage(run).startswith("Modules not recorded: 1 never called in some processes (`icshift info")


def test_what_all_processes_missed_each_for_a_reason_counts_once(tmp_path):
    missed = [{**LEDGER[2], "reason": f"reason {rank}", "ranks": [rank]} for rank in range(2)]
    run = run_of(tmp_path / "run", [], sites=[], **ABOUT | {"ledger": missed})
    assert coverage(run).startswith("Modules not recorded: 1 never called (`icshift info")


def test_cost_is_set_against_the_rest_of_the_time(run):
    assert added_time(run) == "+25 %"
    assert overhead(run) == "1.00 s of 5.00 s spent recording (+25 %), 0.0 MB"
