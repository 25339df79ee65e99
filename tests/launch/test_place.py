"""Each process that records has a folder of its own, but for those of one training."""

from icshift.launch.place import Place


def test_children_have_folders_of_their_own(tmp_path):
    assert Place(tmp_path, child=False).folder() == tmp_path
    first, second = Place(tmp_path, child=True), Place(tmp_path, child=True)
    assert first.folder() == first.folder() == tmp_path / "process-1"
    assert second.folder() == tmp_path / "process-2"
    (second.folder() / "run").mkdir()
    for place in (first, second):
        place.leave()
    assert [path.name for path in tmp_path.iterdir()] == ["process-2"]


def test_processes_of_one_training_share_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Place(tmp_path, child=True).folder() == tmp_path
