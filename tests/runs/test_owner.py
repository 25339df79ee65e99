"""One writer a path: who gets it of several that want it, and what becomes of the one that lost it."""

import json
import os
import subprocess
import textwrap
import time

import pyarrow.parquet as pq
import pytest

from icshift.errors import IcshiftError, RecordingError, RunError
from icshift.runs.format import MANIFEST, RUN_ID, Window
from icshift.runs.owner import id_at, recorded_by, refuse_occupied, refuse_part_of_run
from icshift.runs.reader import StoredRun
from tests.recorded import of_zoo, site
from tests.runs.test_writer import numbered, start
from tests.warm.starting import python


def written(recording, index):
    window = Window(index, str(index), 10 * index - 10, 10 * index - 1, closed=True)
    recording.write_window(window, {("train", site("a")): of_zoo("normal", 7)})


def ids(path):
    return {pq.read_schema(file).metadata[RUN_ID].decode() for file in path.rglob("[0-9]*.parquet")}


def test_the_id_is_in_the_manifest_and_in_every_file(tmp_path):
    recording = start(tmp_path / "run", site("a"))
    written(recording, 1)
    recording.append_steps("train", site("a"), numbered(range(4)))
    recording.append_measured("logged", [{"step": 0, "window": 1, "name": "loss", "value": 0.5}])
    recording.finish({})
    own = id_at(tmp_path / "run" / MANIFEST)
    assert len(own) == 32
    assert ids(tmp_path / "run") == {own}
    assert id_at(start(tmp_path / "other").path / MANIFEST) != own


def test_a_writer_whose_run_was_replaced_writes_nothing_more(tmp_path):
    first = start(tmp_path / "run", site("a"))
    written(first, 1)
    second = start(tmp_path / "run", site("a"), force=True)
    written(second, 1)
    for act in (lambda: written(first, 2), lambda: first.update({"steps": 9}), lambda: first.finish({})):
        with pytest.raises(RunError, match="another recording has taken"):
            act()
    assert id_at(tmp_path / "run" / MANIFEST) == second._manifest["id"]
    assert ids(tmp_path / "run") == {second._manifest["id"]}


def test_a_run_that_was_deleted_is_not_made_anew(tmp_path):
    recording = start(tmp_path / "run", site("a"))
    (tmp_path / "run" / MANIFEST).unlink()
    with pytest.raises(RunError, match="deleted or moved"):
        written(recording, 1)
    assert not list((tmp_path / "run" / "windows").iterdir())


def elsewhere(path, *, host, process, started=None, finished=False):
    """Make a run one of another writer."""
    manifest = json.loads((path / MANIFEST).read_text())
    writer = {"host": host, "process": process, "started": started}
    (path / MANIFEST).write_text(json.dumps(manifest | {"writer": writer, "finished": finished}))


def test_force_refuses_a_run_that_another_process_records(tmp_path):
    start(tmp_path / "run")
    here = json.loads((tmp_path / "run" / MANIFEST).read_text())["writer"]["host"]
    alive = subprocess.Popen(["sleep", "100"])
    try:
        elsewhere(tmp_path / "run", host=here, process=alive.pid)
        assert recorded_by(tmp_path / "run") == f"by process {alive.pid}"
        with pytest.raises(RunError, match=f"is being recorded now .by process {alive.pid}.: even with force"):
            start(tmp_path / "run", force=True)
        elsewhere(tmp_path / "run", host=here, process=alive.pid, started=1)
        assert not recorded_by(tmp_path / "run"), "another process has got its number since"
        elsewhere(tmp_path / "run", host=here, process=alive.pid, finished=True)
        assert not recorded_by(tmp_path / "run")
        elsewhere(tmp_path / "run", host=here, process=alive.pid)
    finally:
        alive.kill()
        alive.wait()
    assert not recorded_by(tmp_path / "run")
    start(tmp_path / "run", force=True)


def test_force_refuses_a_run_that_was_written_to_seconds_ago_by_who_knows_whom(tmp_path):
    start(tmp_path / "run")
    elsewhere(tmp_path / "run", host="another machine", process=1)
    with pytest.raises(RunError, match=r"written to \d+ s ago, from elsewhere"):
        start(tmp_path / "run", force=True)
    before = time.time() - 60
    os.utime(tmp_path / "run" / MANIFEST, (before, before))
    start(tmp_path / "run", force=True)


def test_a_writer_with_anything_in_its_place_is_nobody(tmp_path):
    start(tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / MANIFEST).read_text())
    before = time.time() - 60
    for writer in (None, 5, [], {"process": "1"}, {"host": None}):
        (tmp_path / "run" / MANIFEST).write_text(json.dumps(manifest | {"writer": writer}))
        os.utime(tmp_path / "run" / MANIFEST, (before, before))
        assert not recorded_by(tmp_path / "run")


RACE = """
import sys, time
from pathlib import Path
from icshift.errors import IcshiftError
from icshift.runs.writer import Recording
Path(sys.argv[1] + f".ready{sys.argv[2]}").touch()
while not Path(sys.argv[1] + ".go").exists():
    pass
try:
    recording = Recording(Path(sys.argv[1]), {"sites": [], "who": sys.argv[2]})
except IcshiftError as error:
    assert "exists and is kept" in str(error), error
    sys.exit(3)
recording.finish({})
"""


@pytest.mark.usefixtures("bound")
def test_of_two_processes_that_want_a_new_path_one_gets_it(tmp_path):
    (tmp_path / "race.py").write_text(textwrap.dedent(RACE))
    for number in range(3):
        path = tmp_path / f"run{number}"
        racers = [subprocess.Popen([python(), tmp_path / "race.py", path, str(who)]) for who in range(2)]
        while sum((tmp_path / f"run{number}.ready{who}").exists() for who in range(2)) < 2:
            time.sleep(0.01)
        (tmp_path / f"run{number}.go").touch()
        assert sorted(racer.wait() for racer in racers) == [0, 3]
        assert StoredRun(path).finished


@pytest.mark.parametrize("make", ["full", "long", "dangling", "within a file", "a zero"])
def test_what_the_system_says_at_the_start_is_one_line(make, tmp_path):
    path = tmp_path / "run"
    if make == "long":
        path = tmp_path / ("x" * 300)
    elif make == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif make == "within a file":
        (tmp_path / "file").touch()
        path = tmp_path / "file" / "run"
    elif make == "full":
        path = type(path)("/dev/full/run")
    elif make == "a zero":
        path = tmp_path / "run\0"
    with pytest.raises(IcshiftError) as caught:
        start(path)
    assert isinstance(caught.value, (RunError, RecordingError))
    assert "\n" not in str(caught.value)


PARTS = ["run.json", "run.rank1.json", "windows", "windows/000001.rank0.parquet", "windows/new/er", "steps", "merged/x"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_a_run_is_no_place_for_anything_else(part, tmp_path):
    run = start(tmp_path / "run", site("a")).path
    (tmp_path / "link").symlink_to(run)
    (tmp_path / "to-windows").symlink_to(run / "windows")
    for path in (run / part, tmp_path / "link" / part, tmp_path / "to-windows", tmp_path / "to-windows" / "new"):
        with pytest.raises(RunError, match=r"belongs to the run .*choose another path"):
            refuse_part_of_run(path)
        for force in (False, True):
            with pytest.raises(RunError, match="belongs to the run"):
                refuse_occupied(path, force=force)


def test_beside_the_files_of_a_run_there_is_room(tmp_path):
    run = start(tmp_path / "run", site("a")).path
    for path in (run, run / "page.html", run / "pages" / "windows", tmp_path / "windows" / "run.json"):
        refuse_part_of_run(path)
