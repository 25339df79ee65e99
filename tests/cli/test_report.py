"""What `icshift report` and `icshift path` say of the phases of a probe."""

import numpy as np
import pytest

from icshift.cli.main import _run
from icshift.runs.format import Site
from tests.recorded import probe
from tests.reports.shown import run_of

PHASES = ["probe", "probe-train", "probe-batch", "probe-precise"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    norm = Site("norm1", "BatchNorm1d", 1, 4, normalises=True, batch_statistics=True)
    random = np.random.default_rng(5)
    windows = [{(phase, "norm1"): probe(random.normal(size=(4, 300))) for phase in PHASES} for _ in range(2)]
    return run_of(tmp_path_factory.mktemp("report") / "run", windows, sites=[norm]).path


@pytest.mark.parametrize("command", ["report", "path"])
def test_an_older_probe_of_batch_norm_is_not_said_to_be_without_noise(command, path, capsys):
    found = said(capsys, command, path, "--phase", "probe")
    assert "no sampling noise" not in found
    assert "batch norm by its running averages: their own noise shows as drift here" in found
    assert "no sampling noise" in said(capsys, command, path, "--phase", "probe-precise")


def said(capsys, *arguments):
    assert _run([str(one) for one in arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("phase", PHASES)
def test_moments_that_the_layer_sets_itself_are_marked(phase, path, capsys):
    assert ("norm1 †" in said(capsys, "report", path, "--phase", phase)) == (phase != "probe")


@pytest.mark.parametrize("command", ["report", "path"])
def test_what_was_in_training_mode(command, path, capsys):
    found = {phase: said(capsys, command, path, "--phase", phase) for phase in PHASES}
    assert [phase for phase in PHASES if "dropout and other draws" in found[phase]] == ["probe-train"]
    assert [phase for phase in PHASES if "all else is in eval mode" in found[phase]] == ["probe-batch"]
