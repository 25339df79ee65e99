"""Files that mean harm do none: nothing runs, nothing is written, nothing hangs, and the end is one line."""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import torch.distributed.checkpoint as dcp

from icshift.errors import ModelError
from icshift.saved.find import find
from icshift.saved.load import Wanted, load
from tests.saved import arsenal, attempts, zoo

REASONS = {"tar.pt": "tar archive", "pickle0.pt": "is no saved model", "pickle1.pt": "is no saved model"}
"""Why files are refused that are not even taken for a pickle."""

BESIDE = ("in the optimizer", "in a callback", "as an option", "as the epoch", "as an attribute", "deep down")
"""Wrappings beside a plain state dict, which is read without them; it fits no model here."""


def files(places, vit):
    """Everything that is tried, by what it is: paths of files and directories."""
    weapon = arsenal.weapons(places / "marked" / "marker")["os.system"]
    beside = places / "files" / "beside"
    state = zoo.trained()[0].state_dict()
    saved = {"model": state, "epoch": weapon, "step": [weapon], "more": {"epoch": weapon}}
    dcp.save(saved, checkpoint_id=beside, no_dist=True)
    remote = shutil.copytree(vit, places / "files" / "remote")
    config = remote / "config.json"
    config.write_text(config.read_text().replace("{", '{"auto_map": {"AutoModel": "evil.Model"},', 1))
    (remote / "evil.py").write_text(f"open({str(places / 'marked' / 'marker')!r}, 'w')")
    directory = places / "files" / "bombs"
    directory.mkdir()
    return {"armed": armed_files(places), "bombs": arsenal.bombs(directory), "beside": [beside], "remote": [remote]}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, vit):
    """What came of everything, tried in a process that starts in an empty directory; sure to have left no trace."""
    places = tmp_path_factory.mktemp("hostile")
    for name in ("cwd", "marked", "files"):
        (places / name).mkdir()
    tried = files(places, vit)
    before = attempts.tree(places)
    jobs = [{"path": str(path), "build": kind == "remote"} for kind, paths in tried.items() for path in paths]
    answers = iter(attempts.run(jobs, places / "cwd"))
    assert attempts.tree(places) == before
    assert not list((places / "marked").iterdir())
    return {kind: [(path, next(answers)) for path in paths] for kind, paths in tried.items()}


def armed_files(places):
    """Every weapon, everywhere: each with each place, and each wrapping in those places that take any."""
    marker = places / "marked" / "marker"
    weapons = arsenal.weapons(marker)
    files = []
    for number, weapon in enumerate(weapons.values()):
        for name, write in arsenal.PLACES.items():
            if number == 0 or not name.endswith(".pt2"):  # An archive of export takes a while to write.
                directory = places / "files" / f"{number}"
                directory.mkdir(exist_ok=True)
                files.append(write(directory / name, weapon))
    for wrapping, saved in arsenal.wrappings(weapons["os.system"]).items():
        for name in ("torch.pt", "legacy.pt", "pickle4.pt"):
            directory = places / "files" / wrapping
            directory.mkdir(exist_ok=True)
            files.append(arsenal.PLACES[name](directory / name, saved))
    return files


def test_no_pickle_runs_code(outcomes):
    assert len(outcomes["armed"]) > 200
    for path, outcome in outcomes["armed"]:
        assert outcome["outcome"] == "refused", (path, outcome)
        if path.name == "torch.pt" and path.parent.name in (*BESIDE, "as a key"):
            assert "does not fit" in outcome["line"] or "holds no state dict" in outcome["line"], outcome
            continue
        assert outcome["line"].startswith(f"{path}: "), outcome
        assert REASONS.get(path.name, "runs code") in outcome["line"], (path, outcome)
        if path.name not in ("metadata", *REASONS):
            assert "--unsafe-pickle" in outcome["line"], outcome


@pytest.mark.parametrize(
    "name", ["os.system", "exec", "eval", "runpy", "copy", "open", "nested torch.load", "torch.fx"]
)
def test_the_weapons_are_sharp(tmp_path, name):
    """The same file with the flag does run its code: what is refused above is no dummy."""
    marker = tmp_path / "marked" / "marker"
    marker.parent.mkdir()
    (tmp_path / "deep").mkdir()
    path = arsenal.as_torch(tmp_path / "deep" / "a.pt", {"state_dict": arsenal.weapons(marker)[name]})
    with pytest.raises(ModelError, match="runs code"):
        load(*find([path]))
    assert not marker.exists()
    with suppress(ModelError):
        load(*find([path]), Wanted(unsafe=True))
    assert marker.exists()


def test_objects_beside_the_model_of_a_distributed_checkpoint_are_left_alone(outcomes):
    ((_, outcome),) = outcomes["beside"]
    assert outcome["outcome"] == "ok"


def test_bombs_do_not_go_off(outcomes):
    for path, outcome in outcomes["bombs"]:
        assert outcome["outcome"] == "refused", (path, outcome)
        assert outcome["seconds"] < attempts.BUSY, (path, outcome)


def test_code_of_a_huggingface_directory_is_not_run(outcomes):
    ((_, outcome),) = outcomes["remote"]
    assert "brings code of its own" in outcome["line"]


def test_names_in_files_cannot_write_on_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[31m\nb.pt"
    arsenal.torch_zip(path, arsenal.named(b"K\x01", b"\x1b[2J\r\n" * 99))
    with pytest.raises(ModelError) as raised:
        load(*find([path]))
    assert str(raised.value).isprintable()


def test_a_directory_that_lies_is_refused(tmp_path):
    for name in (".metadata", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
        for content in (b"", b"{}", b"PK\x03\x04", b"\x80\x02"):
            directory = tmp_path / f"{name} {content!r:.9}"
            directory.mkdir()
            (directory / name).write_bytes(content)
            with pytest.raises(ModelError):
                load(*find([directory]))


def test_pipes_and_devices_in_directories_are_not_opened(tmp_path):
    directory = tmp_path / "shards"
    directory.mkdir()
    os.mkfifo(directory / "part.bin")
    (directory / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "part.bin"}}')
    with pytest.raises(ModelError, match="no regular file"):
        load(*find([directory]))


def test_the_marker_is_seen_by_the_check(tmp_path):
    """The check itself: what is written is noticed."""
    before = attempts.tree(tmp_path)
    subprocess.run(["touch", str(Path(tmp_path) / "marker")], check=True, timeout=600)
    assert attempts.tree(tmp_path) != before
