"""`icshift export --to`: what it writes into which folder, what it says, and what it refuses."""

import json

import pytest

from icshift.trackers.folder import MARK

pytest.importorskip("tensorboard", reason="an extra: pip install 'icshift[tensorboard]'")


def events(folder):
    return [name for name in json.loads((folder / MARK).read_text())["files"] if "events" in name]


def test_a_folder_for_tensorboard(two_windows, tmp_path, command):
    folder = tmp_path / "logs"
    code, out, err = command("export", two_windows, "--to", "tensorboard", "-o", folder)
    assert (code, out) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["eval", MARK, "probe", "train"]
    said = err.split("\n")
    assert said[0].endswith("of histograms (train, eval, probe)")
    assert said[1] == "Windows stand at their last step."
    assert said[2] == f"Next: tensorboard --logdir {folder}"
    assert command("export", two_windows, "--to", "tensorboard", "-o", folder)[0] == 2
    before = events(folder)
    chosen = ("--phase", "eval", "--site", "fc1", "--metric", "ks", "-f", "-q")
    assert command("export", two_windows, "--to", "tensorboard", "-o", folder, *chosen) == (0, "", "")
    assert [name.split("/")[0] for name in before] == ["eval", "probe", "train"]
    assert [name.split("/")[0] for name in events(folder)] == ["eval"]
    assert not set(before) & set(events(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["eval", MARK]


MISTAKES = {
    "a table": (["--table", "smoothness"], "--table smoothness is for files"),
    "a metric that there is not": (["--metric", "w9"], "no metric 'w9'"),
    "a reference that there is not": (["--reference", "epoch 9"], "no reference 'epoch 9'"),
    "a phase that there is not": (["--phase", "test"], "no phase 'test'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_and_write_nothing(mistake, two_windows, refused):
    options, expected = MISTAKES[mistake]
    assert expected in refused("export", two_windows, "--to", "tensorboard", "-o", "logs", *options)


def test_a_dashboard_that_there_is_not(two_windows, refused):
    assert "'excel' is not one of" in refused("export", two_windows, "--to", "excel", "-o", "logs")


def test_mistakes_leave_an_earlier_export(two_windows, tmp_path, command):
    folder = tmp_path / "logs"
    command("export", two_windows, "--to", "tensorboard", "-o", folder)
    before = sorted(folder.rglob("*"))
    code, _, _ = command("export", two_windows, "--to", "tensorboard", "-o", folder, "-f", "--reference", "epoch 9")
    assert code == 2
    assert sorted(folder.rglob("*")) == before
