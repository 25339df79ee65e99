"""What a process finds of a run that it goes on with."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from icshift.errors import RecordingError, RunError
from icshift.runs.format import MANIFEST, Window
from icshift.runs.reader import StoredRun
from icshift.runs.resuming import STATE, joined_state, past_of, refuse_other, steps_of
from icshift.runs.writer import Recording
from tests.recorded import of_zoo, site
from tests.runs.test_writer import numbered, start

BEGINNING = {"model": "Net", "settings": {"samples": 64}}


def written(path, windows=3, *, provisional=False, open_one=False):
    """A run whose windows have ten steps each, its parameters being called after the window that they end."""
    recording = start(path, site("a"), force=path.exists())
    for index in range(1, windows + 1):
        recording.states[index] = {"parameters": f"end {index}", "sampling": None}
        window = Window(index, str(index), 10 * index - 10, 10 * index - 1, True, provisional=provisional)
        recording.write_window(window, {("train", site("a")): of_zoo("normal", 7)})
        recording.append_steps("train", site("a"), numbered(range(10 * index - 10, 10 * index)))
        recording.append_measured("logged", [{"step": 10 * index - 1, "window": index, "name": "loss", "value": 0.5}])
        recording.flush()
    if open_one:
        following = Window(windows + 1, "open", 10 * windows, 10 * windows + 4, closed=False)
        recording.write_window(following, {("train", site("a")): of_zoo("normal", 7)})
        recording.append_steps("train", site("a"), numbered(range(10 * windows, 10 * windows + 5)))
        recording.flush()
    recording.update({**BEGINNING, "initial_weights": "beginning", "ledger": []})
    return path


def test_the_past_holds_the_windows_that_ended_and_their_states(tmp_path):
    past = past_of(written(tmp_path / "run", open_one=True), 0)
    assert [window.index for window in past.windows] == [1, 2, 3]
    assert past.covered == 30
    assert past.state["parameters"] == "end 3"
    assert past.until(20).state["parameters"] == "end 2"
    assert past.until(0).windows == ()
    assert past_of(tmp_path / "nowhere", 0) is None


@pytest.mark.parametrize(
    ("parameters", "initial", "told", "steps"),
    [
        ("end 2", None, None, 20),
        ("end 2", None, 30, 30),
        ("end 2", None, 23, 20),
        ("else", None, 23, 23),
        ("else", "beginning", None, 0),
        (None, None, 0, 0),
    ],
)
def test_how_many_steps_it_has_behind_it(parameters, initial, told, steps, tmp_path):
    assert steps_of(past_of(written(tmp_path / "run"), 0), parameters, {"initial_weights": initial}, told) == steps


def test_parameters_of_nowhere_are_refused(tmp_path):
    with pytest.raises(RecordingError, match="load the checkpoint before the recorder starts"):
        steps_of(past_of(written(tmp_path / "run"), 0), "else", {"initial_weights": "other"}, None)


def test_a_model_of_another_size_is_said_to_be_one(tmp_path):
    past = past_of(written(tmp_path / "run"), 0)
    past = replace(past, manifest={**past.manifest, "parameters": 1234})
    with pytest.raises(RecordingError, match="the model has 90 parameters, and that of the run had 1,234"):
        steps_of(past, "else", {"parameters": 90}, None)


def test_what_came_to_its_end_is_not_cut(tmp_path):
    past = past_of(written(tmp_path / "run"), 0)
    whole = replace(past, manifest={**past.manifest, "finished": True})
    with pytest.raises(RecordingError, match="came to its end after 30 steps, and this training has 20"):
        steps_of(whole, None, {}, 20)
    assert steps_of(whole, None, {}, 30) == 30
    with pytest.raises(RecordingError, match="has 20 behind it, by its parameters, though resume says 1,000: to"):
        steps_of(whole, "end 2", {}, 1000)
    cut = replace(past, manifest={**whole.manifest, "interrupted": {"by": "KeyboardInterrupt", "step": 30, "time": ""}})
    assert steps_of(cut, None, {}, 20) == 20


@pytest.mark.some(1)
@pytest.mark.parametrize("steps", [30, 20, 25, 0])
def test_what_came_later_is_deleted(steps, tmp_path):
    path = written(tmp_path / "run", open_one=True)
    (path / "steps" / ".000009.rank0.parquet.77").write_bytes(b"half")
    past = past_of(path, 0)
    recording = Recording.resumed(past, BEGINNING | {"sites": past.manifest["sites"]}, steps)
    run = StoredRun(path)
    assert [window.index for window in run.window_list] == list(range(1, steps // 10 + 1))
    assert sorted(set(run.steps()["step"])) == list(range(steps // 10 * 10)), "a step is in the table or in a gap"
    assert run.logged()["step"].tolist() == [step for step in (9, 19, 29) if step < steps]
    assert not list(path.rglob(".*"))
    manifest = run.manifest
    assert manifest["id"] == past.manifest["id"]
    assert manifest["resumed"][0]["step"] == steps
    assert not run.finished
    recording.append_steps("train", site("a"), numbered(range(steps, steps + 2)))
    recording.finish({})
    there = [*range(steps // 10 * 10), steps, steps + 1]
    assert sorted(set(StoredRun(path).steps()["step"])) == there, "nothing is overwritten"


def test_provisional_windows_become_windows_of_their_own(tmp_path):
    past = past_of(written(tmp_path / "run", provisional=True), 0)
    Recording.resumed(past, BEGINNING | {"sites": past.manifest["sites"]}, 20)
    run = StoredRun(tmp_path / "run")
    assert [(window.index, window.provisional) for window in run.window_list] == [(1, False), (2, False)]
    file = tmp_path / "run" / "windows" / "000002.rank0.parquet"
    assert json.loads(pq.read_schema(file).metadata[STATE])["parameters"] == "end 2"


def test_other_settings_another_model_and_other_processes_are_told_apart(tmp_path):
    past = past_of(written(tmp_path / "run"), 0)
    refuse_other(past, BEGINNING, 1)
    for beginning, ranks, told in (
        (BEGINNING | {"settings": {"samples": 32}}, 1, "samples was 64 and is 32"),
        (BEGINNING | {"settings": {}}, 1, "samples was 64 and is not given"),
        (BEGINNING | {"model": "Other"}, 1, "model was Net and is Other"),
        (BEGINNING, 2, "processes was 1 and is 2"),
    ):
        with pytest.raises(RecordingError, match=told):
            refuse_other(past, beginning, ranks)


def entry(module, state):
    return {"module": module, "type": "Linear", "state": state, "reason": ""}


def test_what_was_seen_before_and_since_is_in_one_manifest(tmp_path):
    past = past_of(written(tmp_path / "run"), 0)
    before = {
        **past.manifest,
        "ledger": [entry("a", "observed"), entry("b", "observed")],
        "overhead": {"recording_seconds": 1.0, "wall_seconds": 10.0},
        "gaps": [{"first_step": 1, "last_step": 2, "reason": "full", "time": ""}],
    }
    new = {**past.manifest["sites"][0], "name": "b"}
    since = {
        "sites": [new],
        "ledger": [entry("a", "never called"), entry("b", "failed")],
        "measured": {},
        "overhead": {"recording_seconds": 0.5, "wall_seconds": 5.0},
        "gaps": [],
    }
    joined = joined_state(replace(past, manifest=before), since)
    assert [one["name"] for one in joined["sites"]] == ["a", "b"]
    assert [one["state"] for one in joined["ledger"]] == ["observed", "failed"]
    assert joined["overhead"] == {"recording_seconds": 1.5, "wall_seconds": 15.0}
    assert len(joined["gaps"]) == 1
    with pytest.raises(RecordingError, match="site a had units 3, now 9"):
        joined_state(past, {**since, "sites": [{**new, "name": "a", "units": 9}]})


def test_a_damaged_run_is_not_gone_on_with(tmp_path):
    path = written(tmp_path / "run")
    file = path / "windows" / "000002.rank0.parquet"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(RunError, match="damaged"):
        past_of(path, 0)
    (path / MANIFEST).write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        past_of(path, 0)
