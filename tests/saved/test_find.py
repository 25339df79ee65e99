"""What is found at a path, in which order, under which label."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from icshift.errors import ModelError
from icshift.saved.find import find
from tests.saved import zoo

STATE = {"weight": torch.ones(2)}


def labels(*paths):
    return [found.label for found in find(paths)]


def save_all(directory, files):
    directory.mkdir(exist_ok=True)
    for name, saved in files.items():
        torch.save(saved, directory / name)
    return directory


def at(**progress):
    return {"model": STATE, **progress}


def test_names_sort_as_people_count(tmp_path):
    save_all(tmp_path, {f"epoch-{number}.pt": STATE for number in (10, 2, 1, 33)})
    assert labels(tmp_path) == ["epoch-1.pt", "epoch-2.pt", "epoch-10.pt", "epoch-33.pt"]


def test_stored_epochs_decide_where_all_have_them(tmp_path):
    save_all(tmp_path, {"a.pt": at(epoch=7), "b.pt": at(epoch=2), "c.pth": at(epoch=11)})
    assert labels(tmp_path) == ["epoch 2", "epoch 7", "epoch 11"]
    torch.save(STATE, tmp_path / "b2.pt")
    assert labels(tmp_path) == ["a.pt", "b.pt", "b2.pt", "c.pth"]


def test_steps_tell_models_of_one_epoch_apart(tmp_path):
    files = {"a.pt": at(epoch=1, global_step=300), "b.pt": at(epoch=0, global_step=100), "c.pt": at(epoch=0, step=40)}
    save_all(tmp_path, files)
    assert labels(tmp_path) == ["step 40", "step 100", "step 300"]


def test_a_step_that_starts_anew_in_every_epoch_does_not_mislead(tmp_path):
    save_all(tmp_path, {f"{e}-{s}.pt": at(epoch=e, iteration=s) for e in (1, 0) for s in (50, 0)})
    assert labels(tmp_path) == ["0-0.pt", "0-50.pt", "1-0.pt", "1-50.pt"]


def test_order_does_not_depend_on_that_of_the_paths(tmp_path):
    save_all(tmp_path, {f"{name}.pt": at(epoch=number) for number, name in enumerate("cab")})
    assert labels(*sorted(tmp_path.iterdir())) == labels(*sorted(tmp_path.iterdir(), reverse=True))


def test_each_is_taken_once(tmp_path):
    save_all(tmp_path, {"epoch-1.pt": STATE, "epoch-2.pt": STATE})
    (tmp_path / "last.pt").symlink_to(tmp_path / "epoch-2.pt")
    assert labels(tmp_path, tmp_path / "epoch-1.pt") == ["epoch-1.pt", "epoch-2.pt"]


def test_equal_names_are_told_apart_by_their_directories(tmp_path):
    for run in ("run-2", "run-10"):
        save_all(tmp_path / run, {"model.pt": STATE})
    assert labels(tmp_path / "run-10", tmp_path / "run-2") == ["run-2/model.pt", "run-10/model.pt"]


def test_labels_can_be_printed_and_stay_unique(tmp_path, monkeypatch):
    save_all(tmp_path, {"a\x1b[31m.pt": STATE, "a\n[31m.pt": STATE})
    assert labels(tmp_path) == ["1: a [31m.pt", "2: a [31m.pt"]
    monkeypatch.chdir(tmp_path)
    save_file(STATE, tmp_path / "model.safetensors")
    assert labels(tmp_path.relative_to(tmp_path)) == [tmp_path.name]


def test_what_lies_beside_models_is_left_out(tmp_path):
    names = ["optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin", "bf16_zero_optim_states.pt"]
    save_all(tmp_path, {"model-1.pt": STATE, **{name: {"x": 1} for name in names}})
    (tmp_path / "log.txt").write_text("hello")
    (tmp_path / "train.bin").write_bytes(b"\1\0\2\0")
    (tmp_path / "events").mkdir()
    assert labels(tmp_path) == ["model-1.pt"]
    with pytest.raises(ModelError, match=r"train\.bin: is no saved model"):
        find([tmp_path / "train.bin"])


def test_the_checkpoints_of_a_trainer_are_its_directories(tmp_path):
    for step in (500, 1000, 80):
        directory = tmp_path / f"checkpoint-{step}"
        directory.mkdir()
        save_file(STATE, directory / "model.safetensors")
        torch.save({"state": {}}, directory / "optimizer.pt")
        (directory / "trainer_state.json").write_text(json.dumps({"epoch": step / 1000, "global_step": step}))
    save_file(STATE, tmp_path / "model.safetensors")
    assert labels(tmp_path) == ["checkpoint-80", "checkpoint-500", "checkpoint-1000", tmp_path.name]
    assert [found.format for found in find([tmp_path])] == ["huggingface"] * 4
    assert [found.within for found in find([tmp_path])] == [tmp_path] * 4
    assert labels(tmp_path / "checkpoint-500") == ["step 500"]
    assert find([tmp_path / "checkpoint-500"])[0].within is None


def test_distributed_checkpoints_and_files_can_be_mixed(tmp_path, saved):
    (tmp_path / "dcp").symlink_to(saved["distributed"])
    torch.save(zoo.checkpoint(epoch=1, step=10), tmp_path / "a.pt")
    assert [(found.label, found.format) for found in find([tmp_path])] == [
        ("epoch 1", "torch"),
        ("epoch 3", "distributed"),
    ]


def test_safetensors_tell_their_epoch_in_text(tmp_path):
    for epoch in (3, 20):
        save_file(STATE, tmp_path / f"{epoch}.safetensors", metadata={"epoch": str(epoch), "format": "pt"})
    assert labels(tmp_path) == ["epoch 3", "epoch 20"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "x" * 99, -1e99, [3], torch.tensor(3), None])
def test_odd_epochs_are_none(tmp_path, value):
    save_all(tmp_path, {"a.pt": at(epoch=value)})
    assert labels(tmp_path) == ["a.pt"]


def test_a_directory_without_models_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ModelError, match=r"holds no saved model: expected files that end in \.pt"):
        find([tmp_path])


def test_nothing_given_is_refused():
    with pytest.raises(ModelError, match="no saved model given"):
        find([])


def test_a_missing_path_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.pt: no such file or directory"):
        find([tmp_path / "nowhere.pt"])


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ModelError, match="no regular file"):
        find([tmp_path / "pipe.pt"])
    with pytest.raises(ModelError, match="holds no saved model"):
        find([tmp_path])


def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "a.pt").symlink_to(tmp_path / "a.pt")
    with pytest.raises(ModelError):
        find([tmp_path / "a.pt"])


def test_a_file_that_may_not_be_read_is_told_of(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "a.pt")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(ModelError, match=r"a\.pt: cannot be read: Permission denied"):
        find([tmp_path / "a.pt"])


def test_a_damaged_file_among_many_is_named(tmp_path):
    save_all(tmp_path, {"epoch-1.pt": STATE, "epoch-2.pt": STATE})
    (tmp_path / "epoch-2.pt").write_bytes((tmp_path / "epoch-2.pt").read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"epoch-2\.pt: cannot be read as a saved model: damaged or cut short"):
        find([tmp_path])
