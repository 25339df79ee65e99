"""Saved models of one small training, the inputs in a file, and the command."""

import numpy as np
import pytest

from icshift.cli.main import _run
from icshift.runs.reader import StoredRun
from tests.replay import network

SPEC = "tests.replay.network:"


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npy"
    np.save(path, network.images().numpy())
    return path


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A directory with the state dict of every epoch."""
    return network.save_plain(tmp_path_factory.mktemp("saved") / "plain")


@pytest.fixture
def analyze(data, tmp_path, capfd, monkeypatch):
    """Runs the command; gives exit code, stdout and stderr. Options named anew replace those that are given always."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*paths, output=tmp_path / "run", model=SPEC + "Digits", inputs=data, options=()):
        chosen = ["--model", model] if model else []
        usual = [] if "--batch-size" in options else ["--batch-size", "100"]
        arguments = ["analyze", *paths, *chosen, "--data", inputs, "-o", output, *usual, *options]
        capfd.readouterr()
        code = _run(list(map(str, arguments)))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def analyzed(analyze, tmp_path):
    """The same, for a command that has to work; gives the run."""

    def run(*paths, output=tmp_path / "run", **options):
        code, _, err = analyze(*paths, output=output, **options)
        assert (code, err) == (0, "")
        return StoredRun(output)

    return run


@pytest.fixture
def as_rank(monkeypatch, analyze, saved):
    """Runs the command as one process of several, as torchrun starts it."""

    def run(rank, *, ranks=2, models=saved, **options):
        with monkeypatch.context() as patched:
            patched.setenv("RANK", str(rank))
            patched.setenv("WORLD_SIZE", str(ranks))
            return analyze(models, **options)

    return run
