"""Numbers of which the squares fit no float: every command shows what it can, and says nothing of NumPy's."""

import warnings

import numpy as np
import pytest

from tests.recorded import distribution, probe, write_run
from tests.zoo.distributions import draw

COMMANDS = (
    ("report", "run"),
    ("report", "run", "--metric", "w2", "--json"),
    ("report", "run", "--reference", "run:other"),
    ("report", "run", "-o", "page.html", "-f"),
    ("units", "run", "--site", "a"),
    ("path", "run"),
    ("compare", "run", "other"),
    ("export", "run", "-o", "e.csv", "--metric", "all"),
    ("export", "run", "--to", "tensorboard", "-o", "board"),
    ("check", "run", "--fail-on", "w2 > 1"),
    ("ls", "."),
)


@pytest.fixture(scope="module", params=[1e200, 1e-200])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbers")
    for number, name in enumerate(("run", "other")):
        windows = []
        for index in range(3):
            values = request.param * draw("normal", 600, 4, seed=10 * number + index).astype(float)
            held = {("train", "a"): distribution(values + index * request.param, dtype=np.float64)}
            windows.append({**held, ("probe", "a"): probe(values[:, :40], dtype=np.float64)})
        write_run(folder / name, windows)
    return folder


@pytest.mark.parametrize("asked", COMMANDS, ids=" ".join)
def test_no_command_warns(folder, monkeypatch, command, asked):
    monkeypatch.chdir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        code, _, err = command(*asked, *(["-f"] if "-o" in asked and "-f" not in asked else []))
    assert code in (0, 1)
    assert "Warning" not in err
