"""What `icshift demo` refuses before it trains."""

import pytest

from icshift.cli.main import _run


@pytest.mark.parametrize("name", ["drift.csv", "plain.pt", "checkpoints", "train.npz", "page.html"])
def test_what_is_there_is_kept_before_any_work(name, tmp_path, capsys):
    path = tmp_path / name
    path.mkdir() if name == "checkpoints" else path.write_text("mine")
    assert _run(["demo", "-o", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{path} exists and is kept" in err
    assert list(tmp_path.iterdir()) == [path]
