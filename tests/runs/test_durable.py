"""A file is there whole or not at all, and reaches the disk before its name does."""

import os
import subprocess
import textwrap

import pytest

from icshift.runs.durable import names_to_disk, write_aside
from tests.warm.starting import python


def test_a_file_is_replaced_as_a_whole(tmp_path):
    for text in ("one", "two"):
        known = write_aside(tmp_path / "file", lambda aside, text=text: aside.write_text(text))
        assert (tmp_path / "file").read_text() == text
        assert known.st_ino == (tmp_path / "file").stat().st_ino
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_the_file_of_before_and_nothing_aside(error, tmp_path):
    write_aside(tmp_path / "file", lambda aside: aside.write_text("before"))

    def failing(aside):
        aside.write_text("half of it")
        raise error

    with pytest.raises(error):
        write_aside(tmp_path / "file", failing)
    assert (tmp_path / "file").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_new_name_is_taken_once(tmp_path):
    write_aside(tmp_path / "file", lambda aside: aside.write_text("first"), new=True)
    with pytest.raises(FileExistsError):
        write_aside(tmp_path / "file", lambda aside: aside.write_text("second"), new=True)
    assert (tmp_path / "file").read_text() == "first"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_directory_without_such_a_thing_is_no_error(tmp_path):
    names_to_disk(tmp_path)
    with pytest.raises(FileNotFoundError):
        os.open(tmp_path / "gone", os.O_RDONLY)
    names_to_disk(tmp_path / "gone")


ORDER = """
import os, sys
from pathlib import Path
events = []
def heard(name, arguments):
    if name == "os.rename" or name == "open":
        events.append((name, Path(os.fsdecode(arguments[0] if name == "open" else arguments[1])).name))
sync = os.fsync
def fsync(descriptor):
    events.append(("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))
    sync(descriptor)
os.fsync = fsync
sys.path.insert(0, sys.argv[2])
from icshift.runs.writer import Recording
from tests.recorded import of_zoo, site
from icshift.runs.format import Window
recording = Recording(Path(sys.argv[1]), {"sites": []})
sys.addaudithook(heard)
events.append(("", "begun"))
recording.write_window(Window(1, "1", 0, 9, closed=True), {("train", site("a")): of_zoo("normal", 7)})
recording.update({})
for kind, name in events:
    if kind != "open":
        print(kind, name.rsplit(".", 1)[0] if name.startswith(".") else name, sep=" " if kind else "")
"""


def test_bytes_reach_the_disk_before_the_name_and_names_before_update_returns(tmp_path, request):
    (tmp_path / "order.py").write_text(textwrap.dedent(ORDER))
    command = [python(), tmp_path / "order.py", tmp_path / "run", str(request.config.rootpath)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    made = done.stdout.splitlines()
    assert made[: made.index("fsync .000001.rank0.parquet")][-2:] == ["fsync run", "begun"]
    assert made[made.index("begun") + 1 :] == [
        "fsync .000001.rank0.parquet",
        "os.rename 000001.rank0.parquet",
        "fsync .run.json",
        "os.rename run.json",
        "fsync windows",
        "fsync run",
    ]
