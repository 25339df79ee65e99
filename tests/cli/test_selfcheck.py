"""The command: the quick checks all pass, each with its source; what it is asked for, and how it fails."""

import json
import os
import re
import subprocess

import pytest

from icshift.cli.main import _run
from icshift.selfcheck import runner
from icshift.selfcheck.check import Check, Finding
from tests.warm.starting import python

NAMES = [
    "percentiles",
    "learning",
    "noise",
    "deep-linear",
    "effective-beta",
    "smoothness",
    "precise",
    "adaptation",
    "conditioning",
    "estimators",
    "gaussians",
    "gradient-shift",
    "relations",
    "sketch",
    "floor",
    "still",
    "shift",
    "path",
    "health",
]
LONG = ["percentiles", "learning", "noise", "deep-linear", "effective-beta", "smoothness", "precise", "estimators"]
"""Those that take longest, left to `.ci/thorough`; `tests/selfcheck/` tests what they are made of."""

SHORT = [name for name in NAMES if name not in LONG]
TRAININGS = NAMES[: NAMES.index("conditioning")]
YEAR = re.compile(r"\b(19|20)\d\d\b")
FAST = ["--only", "conditioning", "--only", "gaussians"]


def icshift(*arguments, before="pass"):
    environment = {**os.environ, "COLUMNS": "80"}
    command = [python(), "-c", f"{before}\nfrom icshift.cli.main import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)


@pytest.fixture(scope="module", params=[SHORT, pytest.param(NAMES, marks=pytest.mark.thorough)], ids=["short", "all"])
def quick(request):
    """Names of checks and the command, with a seed whose plain networks reach the limit of stability in 1,000 steps."""
    only = [] if request.param == NAMES else [word for name in SHORT for word in ("--only", name)]
    return request.param, icshift("selfcheck", "--quick", "--seed", "5", "--json", *only)


def test_all_pass_and_name_their_source(quick):
    names, done = quick
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert (told["passed"], told["seed"], told["quick"]) == (True, 5, True)
    assert [row["check"] for row in told["checks"]] == names
    for row in told["checks"]:
        assert row["passed"], row
        assert YEAR.search(row["source"]) or "closed form" in row["source"], row
        assert all(re.search(r"\d", row[part]) for part in ("expected", "measured", "ran")), row
        assert row["numbers"], row
    assert {"icshift", "torch", "numpy", "scipy", "scikit-learn"} <= told["versions"].keys()


def test_what_is_told_rests_on_counts(quick):
    """n where something was measured on samples; nothing is told to be of more steps than ran."""
    names, done = quick
    rows = {row["check"]: row for row in json.loads(done.stdout)["checks"]}
    for name in {*TRAININGS[1:], "sketch", "floor", "still", "shift", "health"} & {*names}:
        assert "n = " in rows[name]["measured"], name
    if names == SHORT:
        return
    assert "1,000 steps" in rows["percentiles"]["ran"]
    assert "5,000" not in rows["percentiles"]["ran"]


def test_the_table_is_readable_at_80_columns():
    done = icshift("selfcheck", *FAST, "--no-color")
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith(tuple(FAST[1::2]))] == FAST[1::2]
    assert sum(line.startswith("pass ") for line in lines) == 2
    for word in ("source", "expected", "measured", "ran"):
        assert sum(f" {word} " in line for line in lines) == 2
    assert re.fullmatch(r"2 of 2 passed · \d+ s · seed 0 · icshift \S+, torch \S+", lines[-2])
    assert lines[-1] == "Next: icshift demo"


def test_only_some_and_in_their_own_order(capsys):
    assert _run(["selfcheck", "--only", "gaussians", "--only", "conditioning", "--seed", "3", "--json", "-q"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [row["check"] for row in told["checks"]] == ["conditioning", "gaussians"]
    assert told["seed"] == 3


@pytest.mark.parametrize(("given", "near"), [("percentile", "percentiles"), ("R5", "known: percentiles, learning")])
def test_an_unknown_check_is_told_with_near_matches(given, near, capsys):
    assert _run(["selfcheck", "--only", given]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"no check '{given}'" in told.err
    assert near in told.err


def test_the_help_names_every_check(capsys):
    assert _run(["selfcheck", "--help"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.split()]
    assert [word for word in listed if word in runner.CHECKS] == NAMES == list(runner.CHECKS)


def test_a_check_that_fails_ends_in_1(monkeypatch, capsys):
    def find(setting):
        return Finding(False, f"seed {setting.seed}", "nothing", {"number": float("nan")})

    wrong = Check("wrong", "Water flows uphill", "Nobody 1900", "it does", find)
    monkeypatch.setattr(runner, "CHECKS", {"wrong": wrong})
    assert _run(["selfcheck", "--seed", "4"]) == 1
    told = capsys.readouterr().out
    assert "FAIL" in told
    assert "Nobody 1900" in told
    assert "0 of 1 passed" in told
    assert told.splitlines()[-1] == "Next: icshift selfcheck --only wrong --seed 5"
    assert _run(["selfcheck", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["checks"][0]["numbers"] == {"number": None}


def test_without_scikit_learn_it_says_what_to_install():
    before = "import sys; sys.modules['sklearn'] = sys.modules['sklearn.datasets'] = None"
    done = icshift("selfcheck", "--only", "learning", before=before)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'icshift[demo]'" in done.stderr
    assert done.stdout == ""


def test_versions_are_those_installed():
    import torch

    assert runner.versions()["torch"] == torch.__version__
