"""What `icshift merge` does and says."""

import json

from tests.runs.test_merged import WINDOWS, recorded


def test_every_command_shows_the_same_afterwards(tmp_path, command):
    path = recorded(tmp_path / "run")
    before = command("report", path, "--json")[1]
    assert command("merge", path)[1] == f"{path}: {WINDOWS} windows of 3 processes merged\n"
    assert command("report", path, "--json")[1] == before
    assert "4 of them before" in command("merge", path)[1]
    assert json.loads(command("merge", path, "--json")[1])["new"] == 0


def test_one_process_has_nothing_to_merge(two_windows, command):
    assert "nothing to merge" in command("merge", two_windows)[1]
