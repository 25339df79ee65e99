"""Real kills of real trainings, in small; `benchmarks/faults.py` does two hundred."""

import re
import subprocess
from pathlib import Path

from tests.covering import often
from tests.warm.starting import python

ROOT = Path(__file__).parents[2]

KILLS = often(8, 20)

KILLED = """
import sys, warnings
import torch
from benchmarks.faults import kills, kills_while_files_are_put_together, kills_while_merging
torch.set_num_threads(1)
warnings.simplefilter("ignore")
found = eval(sys.argv[1])
print(len(found), sum(one.ended for one in found), sum(one.there for one in found), sum(one.compared for one in found))
for one in found:
    for line in one.wrong:
        print(line)
"""


def found_after(kills):
    command = [python(), "-c", KILLED, kills]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    counted, *wrong = done.stdout.splitlines()
    return [*map(int, re.findall(r"\d+", counted)), wrong]


def test_kills_lose_no_window_and_change_no_number_also_once_resumed():
    kills, ended, there, compared, wrong = found_after(f"kills({KILLS})")
    assert (kills, wrong) == (KILLS, [])
    assert there >= ended
    assert ended > 0, "every one came before the first window had ended"
    assert compared > 500 * KILLS


def test_five_kills_while_files_are_put_together_change_no_number():
    kills, ended, there, compared, wrong = found_after("kills_while_files_are_put_together(5)")
    assert (kills, wrong) == (5, [])
    assert there >= ended > 0
    assert compared > 10_000


def test_five_kills_while_merging_change_no_number():
    kills, ended, there, compared, wrong = found_after("kills_while_merging(5)")
    assert (kills, wrong) == (5, [])
    assert there >= ended > 0
    assert compared > 10_000
