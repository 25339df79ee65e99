"""Which folder an export goes into, and that nothing of anybody else is ever deleted there."""

import json
from pathlib import Path

import pytest

from icshift.errors import RunError, SelectionError
from icshift.trackers.folder import MARK, refuse_folder, write_folder, writer


def writing(*names):
    def write(folder):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        return len(names)

    return write


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_files_of_an_export_are_listed(tmp_path):
    write_folder(tmp_path / "deep" / "down", writing("train/a", "b"), force=False)
    assert left(tmp_path / "deep" / "down") == ["b", MARK, "train/a"]
    assert json.loads((tmp_path / "deep" / "down" / MARK).read_text())["files"] == ["b", "train", "train/a"]


def test_an_empty_folder_is_taken(tmp_path):
    assert write_folder(tmp_path, writing("a"), force=False) == 1
    assert left(tmp_path) == ["a", MARK]


def test_what_is_there_is_kept(tmp_path):
    write_folder(tmp_path, writing("a"), force=False)
    with pytest.raises(RunError, match="--force"):
        write_folder(tmp_path, writing("b"), force=False)
    assert left(tmp_path) == ["a", MARK]


def test_force_replaces_the_files_of_an_export_alone(tmp_path):
    write_folder(tmp_path, writing("train/a", "eval/b"), force=False)
    (tmp_path / "train" / "mine").write_text("mine")
    write_folder(tmp_path, writing("train/c"), force=True)
    assert left(tmp_path) == [MARK, "train/c", "train/mine"]
    assert not (tmp_path / "eval").exists()
    assert json.loads((tmp_path / MARK).read_text())["files"] == ["train/c"]


def test_empty_folders_of_an_export_go_with_it_and_others_stay(tmp_path):
    write_folder(tmp_path, lambda folder: (folder / "run" / "artifacts").mkdir(parents=True), force=False)
    (tmp_path / "mine").mkdir()
    write_folder(tmp_path, writing("a"), force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", MARK, "mine"]


def test_a_folder_is_found_by_a_way_around(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_folder(Path("../logs"), writing("train/a"), force=False)
    write_folder(Path("../logs"), writing("b"), force=True)
    assert left(tmp_path / "logs") == ["b", MARK]


def test_force_replaces_nothing_that_is_no_export(tmp_path):
    (tmp_path / "events.out.tfevents.mine").write_text("mine")
    with pytest.raises(RunError, match="even with --force"):
        write_folder(tmp_path, writing("a"), force=True)
    assert left(tmp_path) == ["events.out.tfevents.mine"]


@pytest.mark.parametrize("name", ["../outside", "/outside", "train/../../outside"])
def test_a_list_that_names_other_places_deletes_nothing_there(name, tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "export"
    outside.write_text("mine")
    write_folder(folder, writing("a"), force=False)
    named = str(outside) if name.startswith("/") else name
    (folder / MARK).write_text(json.dumps({"files": ["a", named]}))
    write_folder(folder, writing("b"), force=True)
    assert outside.read_text() == "mine"
    assert left(folder) == ["b", MARK]


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', "{}"])
def test_a_damaged_list_is_one_line(text, tmp_path):
    write_folder(tmp_path, writing("a"), force=False)
    (tmp_path / MARK).write_text(text)
    with pytest.raises(RunError, match="cannot be read"):
        write_folder(tmp_path, writing("b"), force=True)
    assert left(tmp_path) == ["a", MARK]


def test_what_fails_leaves_nothing_of_itself(tmp_path):
    def failing(folder):
        writing("train/a")(folder)
        raise OSError(28, "No space left on device")

    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="No space"):
        write_folder(tmp_path / "folder", failing, force=False)
    assert not any((tmp_path / "folder").iterdir())


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match="file is a file; give the path of a folder"):
            refuse_folder(path, force=True)


def test_what_is_not_installed_is_named_with_the_way_to_get_it():
    with pytest.raises(SelectionError, match=r"pip install 'icshift\[nobody\]'"):
        writer("nobody")
