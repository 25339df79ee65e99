"""How a recording ended, in words: what was not recorded is told, and nothing where all was."""

import pytest

from icshift.runs.ending import NOT_CLOSED, Ending

GAP = {"first_step": 3, "last_step": 3, "reason": "Too many open files", "time": ""}
STOPPED = {"finished": False, "stopped": {"reason": "disk full", "step": 1200, "time": ""}}
INTERRUPTED = {"finished": True, "interrupted": {"by": "KeyboardInterrupt", "step": 9, "time": ""}}


@pytest.mark.parametrize(
    ("manifest", "heading", "complete", "sentences"),
    [
        ({"finished": True}, "", True, 0),
        ({"finished": True, "stopped": None, "interrupted": None, "gaps": []}, "", True, 0),
        ({}, " · unfinished", False, 1),
        (STOPPED, " · stopped at step 1,200: disk full", False, 1),
        (INTERRUPTED, " · ended by KeyboardInterrupt", False, 1),
        (INTERRUPTED | {"interrupted": {"by": NOT_CLOSED, "step": 1, "time": ""}}, " · never closed", False, 1),
        ({"finished": True, "gaps": [GAP]}, " · 1 steps not recorded", False, 1),
        (STOPPED | {"gaps": [GAP] * 5}, " · stopped at step 1,200: disk full · 5 steps not recorded", False, 5),
    ],
)
def test_each_ending_is_told(manifest, heading, complete, sentences):
    ending = Ending(manifest)
    assert ending.heading == heading.replace("1 steps", "1 step")
    assert ending.state == (ending.heading.removeprefix(" · ") or "finished")
    assert ending.complete == complete
    assert len(ending.sentences) == sentences
    assert bool(ending.data) == bool(heading)


def test_one_step_is_one_step():
    assert Ending({"finished": True, "gaps": [GAP]}).lacking == ("Step 3 was not recorded: Too many open files.",)


def test_files_that_are_gone_are_data_too():
    assert Ending({"finished": True}, ["Window 2 is missing."]).data["missing"] == ["Window 2 is missing."]
    assert Ending({"finished": False}).data["missing"] == []
